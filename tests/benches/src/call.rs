//! One timed run of one plugin, spawned and fed as libcni does it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::error::Error;
use crate::series::Sample;

/// A verb about to be run on a plugin, in the namespace of the calling thread.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The directory of plugins.
    pub dir: &'a Path,
    /// `type` of the configuration.
    pub plugin: &'a str,
    /// `CNI_COMMAND`
    pub verb: &'a str,
    /// `CNI_CONTAINERID`
    pub container: &'a str,
    /// `CNI_NETNS`
    pub netns: &'a str,
    /// `CNI_IFNAME`
    pub ifname: &'a str,
    /// Standard input.
    pub config: &'a [u8],
}

impl Call<'_> {
    /// Runs it; a failure of the plugin is an error. The CPU time is right only while no other thread runs children.
    pub fn run(&self) -> Result<(Sample, Vec<u8>), Error> {
        let program = self.dir.join(self.plugin);
        let started = |source| Error::Start { program: program.clone(), source };
        let before = children()?;
        let began = Instant::now();
        let mut child = self.command(&program).spawn().map_err(started)?;
        let (output, complaint) = self.talk(&mut child).map_err(started)?;
        let status = child.wait().map_err(started)?;
        let wall = began.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            let what = format!("{} {}", program.display(), self.verb);
            let output = String::from_utf8_lossy(&[output, complaint].concat()).into_owned();
            return Err(Error::Plugin { what, status, output });
        }
        Ok((Sample { wall, cpu: cpu(&children()?) - cpu(&before) }, output))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_PATH", self.dir);
        command.env("CNI_COMMAND", self.verb).env("CNI_CONTAINERID", self.container);
        command.env("CNI_NETNS", self.netns).env("CNI_IFNAME", self.ifname).env("CNI_ARGS", "");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Both outputs, one after the other: a plugin writes far less to either than a pipe holds.
    fn talk(&self, child: &mut Child) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let (mut output, mut complaint) = (Vec::new(), Vec::new());
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(self.config)?;
        }
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_end(&mut output)?;
        }
        if let Some(mut pipe) = child.stderr.take() {
            pipe.read_to_end(&mut complaint)?;
        }
        Ok((output, complaint))
    }
}

fn children() -> Result<Usage, Error> {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|source| Error::System { what: "getrusage", source })
}

fn cpu(usage: &Usage) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a bench are far below 2^52")]
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds() as f64;
    microseconds / 1e3
}
