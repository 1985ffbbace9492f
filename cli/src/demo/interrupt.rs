//! Ctrl-C and its kin as a value that waiting code asks.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

use super::error::{Doing, Error};

/// Whether somebody wants the program to end. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    state: Arc<(Mutex<bool>, Condvar)>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP do nothing but set this value. To be called before any thread is started:
    /// threads inherit the mask (`pthread_sigmask(3)`). So do programs, and `launch` clears it for those that stay.
    pub fn catch() -> Result<Self, Error> {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().doing("block signals")?;
        let interrupt = Self::default();
        let setter = interrupt.clone();
        let wait = move || {
            while signals.wait().is_ok() {
                setter.set();
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).doing("start a thread")?;
        Ok(interrupt)
    }

    fn set(&self) {
        let (flag, changed) = &*self.state;
        *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// [`Error::Interrupted`] if it was set.
    pub fn check(&self) -> Result<(), Error> {
        self.pause(Duration::ZERO)
    }

    /// Waits for the interruption, at most so long.
    pub fn pause(&self, time: Duration) -> Result<(), Error> {
        let (flag, changed) = &*self.state;
        let guard = flag.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, time, |set| !*set);
        let (set, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *set { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Asks again and again, until there is an answer, the deadline passes (`None`) or somebody interrupts.
    pub fn until<T>(
        &self,
        deadline: Instant,
        mut ask: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        const BETWEEN: Duration = Duration::from_millis(10);
        loop {
            if let Some(answer) = ask()? {
                return Ok(Some(answer));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            self.pause(BETWEEN)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_at_the_interruption_and_not_at_its_deadline() {
        let interrupt = Interrupt::default();
        assert!(interrupt.check().is_ok());
        let setter = interrupt.clone();
        let other = std::thread::spawn(move || setter.set());
        let far = Instant::now() + Duration::from_mins(1);
        let ended = interrupt.until(far, || Ok(None::<()>));
        other.join().unwrap();
        assert!(matches!(ended, Err(Error::Interrupted)));
    }

    #[test]
    fn a_deadline_that_passes_is_no_answer() {
        let ended = Interrupt::default().until(Instant::now(), || Ok(None::<()>));
        assert!(matches!(ended, Ok(None)));
    }
}
