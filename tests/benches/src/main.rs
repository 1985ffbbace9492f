//! Measures whole processes: ours, the reference's and a floor in C, interleaved, and writes a table and a picture.
//!
//! `./bench` at the top of the repository builds what is measured and runs this. Timings are shown, never asserted.

mod call;
mod contender;
mod contest;
mod curve;
mod error;
mod figure;
mod machine;
mod options;
mod page;
mod picture;
mod programs;
mod rows;
mod series;
mod site;
mod table;

use std::io::Write;
use std::process::ExitCode;

use error::Error;
use figure::Figure;
use options::Options;
use programs::Programs;

fn main() -> ExitCode {
    let done = Options::parse(std::env::args().skip(1)).and_then(|options| bench(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), Error> {
    let machine = machine::Machine::now();
    let programs = Programs::lay_out(&options.floor)?;
    let mut figures: Vec<Figure> = Vec::new();
    for row in rows::ROWS.iter().filter(|row| options.wants(row.name)) {
        eprintln!("bench: {} …", row.name);
        figures.extend((row.run)(&programs, options.effort)?);
    }
    let text = table::plain(&figures);
    std::io::stdout().write_all(text.as_bytes()).map_err(Error::Output)?;
    if let Some(folder) = &options.docs {
        page::write(folder, &figures, &machine)?;
        picture::write(folder, &figures)?;
        curve::write(folder, &figures)?;
    }
    Ok(())
}
