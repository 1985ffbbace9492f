//! The command line.

use std::path::PathBuf;

use crate::error::Error;
use crate::rows::ROWS;

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// A look: a few runs of everything.
    Quick,
    /// What is reported.
    Full,
}

impl Effort {
    /// The number of runs, given that of a full bench.
    pub fn rounds(self, full: usize) -> usize {
        match self {
            Self::Quick => (full / 6).max(3),
            Self::Full => full,
        }
    }
}

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    /// How long to measure.
    pub effort: Effort,
    /// Names of rows; empty for all.
    pub rows: Vec<String>,
    /// Where to write the page and the picture.
    pub docs: Option<PathBuf>,
    /// Where the floor's programs are.
    pub floor: PathBuf,
}

impl Options {
    /// Reads the words after the program's name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let mut options =
            Self { effort: Effort::Full, rows: Vec::new(), docs: None, floor: PathBuf::from("floor") };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.effort = Effort::Quick,
                "--docs" => options.docs = Some(words.next().ok_or(Error::Value("--docs"))?.into()),
                "--floor" => options.floor = words.next().ok_or(Error::Value("--floor"))?.into(),
                row if ROWS.iter().any(|known| known.name == row) => options.rows.push(word),
                _ => {
                    let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                    return Err(Error::Option(word, known.join(" ")));
                }
            }
        }
        Ok(options)
    }

    /// Whether a row is to be measured.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }
}
