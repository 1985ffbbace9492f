//! The table of peers, written by the settling loop and read for each packet without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use overlay::Post;

/// The newest table, and its number.
#[derive(Debug)]
pub struct Board {
    newest: Mutex<Arc<Post>>,
    number: AtomicU64,
}

impl Board {
    /// The first table.
    pub fn new(post: Post) -> Self {
        Board { newest: Mutex::new(Arc::new(post)), number: AtomicU64::new(0) }
    }

    /// Another table in its place.
    pub fn put(&self, post: Post) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(post);
        self.number.fetch_add(1, Ordering::Release);
    }
}

/// One thread's own hold on the table.
#[derive(Debug, Clone)]
pub struct Reader {
    board: Arc<Board>,
    held: Arc<Post>,
    number: u64,
}

impl Reader {
    /// On the table of that board.
    pub fn new(board: Arc<Board>) -> Self {
        let number = board.number.load(Ordering::Acquire);
        let held = board.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Reader { board, held, number }
    }

    /// The newest table: one atomic load, unless there is another one.
    pub fn post(&mut self) -> &Post {
        let number = self.board.number.load(Ordering::Acquire);
        if number != self.number {
            self.held = self.board.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.number = number;
        }
        &self.held
    }
}
