//! SIGKILL at every system call that changes something, of every plugin of a chain: DEL, or GC alone, cleans up.
//!
//! `kill.rs` kills the bridge at every call of any kind. Between two calls that change something the state is the same, so
//! these places are all the states that a kill can leave.

use tests::World;
use tests::chains::whole;
use tests::slaughter::{Remedy, Slaughter, Victim, changing_call, strike_everywhere};

fn chain() -> Slaughter {
    let world = World::ours();
    let network = whole(&world);
    Slaughter::new(world, network)
}

fn kill(verb: &'static str, plugin: usize, remedy: Remedy) {
    strike_everywhere(chain, Victim { verb, plugin }, (changing_call, remedy));
}

macro_rules! victims {
    ($($plugin:ident = $place:literal),*) => {
        $(mod $plugin {
            use super::{Remedy, kill};

            #[test]
            fn add_may_die_anywhere() {
                kill("ADD", $place, Remedy::Del);
            }

            #[test]
            fn add_may_die_anywhere_and_gc_alone_cleans_up() {
                kill("ADD", $place, Remedy::Gc);
            }

            #[test]
            fn del_may_die_anywhere() {
                kill("DEL", $place, Remedy::Del);
            }
        })*
    };
}

victims!(bridge = 0, portmap = 1, bandwidth = 2, firewall = 3, tuning = 4, sbr = 5);
