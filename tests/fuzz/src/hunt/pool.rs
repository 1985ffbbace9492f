//! The inputs that mutations start from: the corpus, and what has led to a new place since.

use std::collections::HashSet;
use std::io;

use crate::corpus;
use crate::mutate::mutate;
use crate::random::Random;
use crate::targets::Target;
use crate::verdict::Reached;

/// Most inputs: beyond, a new one takes the place of another.
const MOST: usize = 4000;

/// See the module.
#[derive(Debug)]
pub struct Pool {
    target: &'static Target,
    random: Random,
    inputs: Vec<Vec<u8>>,
    seeds: usize,
    places: HashSet<Reached>,
}

impl Pool {
    /// The pool of a target's corpus.
    pub fn new(target: &'static Target, seed: u64) -> io::Result<Self> {
        let inputs: Vec<Vec<u8>> = corpus::read(target.name)?.into_iter().map(|kept| kept.input).collect();
        let seeds = inputs.len();
        Ok(Self { target, random: Random::new(seed), inputs, seeds, places: HashSet::new() })
    }

    /// A new input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let newest = self.inputs.len().saturating_sub(self.random.below(50) + 1);
        let at = if self.random.once_in(3) { newest } else { self.random.below(self.inputs.len()) };
        let parent = self.inputs.get(at).cloned().unwrap_or_default();
        mutate(&parent, &self.inputs, self.target.words, &mut self.random)
    }

    /// Learns how far an input came; one that came to a new place is kept, unless it is long.
    pub fn learn(&mut self, input: Vec<u8>, reached: Reached) {
        if !self.places.insert(reached) || input.len() > 8192 {
            return;
        }
        if self.inputs.len() < MOST {
            self.inputs.push(input);
            return;
        }
        let at = self.seeds + self.random.below(MOST.saturating_sub(self.seeds));
        if let Some(old) = self.inputs.get_mut(at) {
            *old = input;
        }
    }

    /// How many places have been reached.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places.len()
    }
}
