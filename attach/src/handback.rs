//! What of ours stands in the kernel, element by element, for giving it back in the reference's form.

use cni::Attachment;
use kernel::nft::{Element, Nft, SetName, Transaction};

use crate::error::Error;
use crate::identity::Mark;
use crate::ruleset;

/// An element of ours that belongs to one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The set or map that it is in.
    pub set: SetName<'static>,
    /// The element.
    pub element: Element,
}

impl Held {
    /// What decides whose it is: the same on everything that an attachment has.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        Mark::key_in(self.element.comment.as_deref()?)
    }

    /// Whether it is the attachment's.
    #[must_use]
    pub fn is_of(&self, attachment: &Attachment) -> bool {
        self.element.comment.as_deref().is_some_and(|comment| Mark::is_on(comment, attachment))
    }

    /// Network, interface and container as far as the comment tells: a long one was cut.
    #[must_use]
    pub fn describe(&self) -> &str {
        let comment = self.element.comment.as_deref().unwrap_or("no comment");
        comment.find("net: ").and_then(|at| comment.get(at..)).unwrap_or(comment)
    }

    /// Puts its removal into a batch.
    pub fn remove(&self, removal: &mut Transaction) {
        removal.destroy_elements(self.set, &[Element::new(self.element.key)]);
    }
}

/// The elements of some sets or maps; those that were never made have none.
pub fn held(nft: &mut Nft, sets: &[SetName<'static>]) -> Result<Vec<Held>, Error> {
    let mut all = Vec::new();
    for set in sets {
        let elements = ruleset::elements(nft, *set)?;
        all.extend(elements.into_iter().map(|element| Held { set: *set, element }));
    }
    Ok(all)
}
