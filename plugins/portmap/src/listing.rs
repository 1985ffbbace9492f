//! What is published on this node at present, for those who only look.

use kernel::nft::Nft;

use crate::mapping::Key;
use crate::owner::Owner;
use crate::table::Realm;

/// Every published key with its owner; none where nothing was ever published.
///
/// # Errors
/// What the kernel says, other than that there is no such table.
pub fn published(nft: &mut Nft) -> Result<Vec<(Key, Owner)>, kernel::Error> {
    let mut all = Vec::new();
    for realm in Realm::ALL {
        let elements = match nft.elements(realm.targets()) {
            Err(error) if error.is_absent() => continue,
            read => read?,
        };
        let read = |element: &kernel::nft::Element| {
            Some((realm.key(&element.key)?, Owner::read(element.comment.as_deref())))
        };
        all.extend(elements.iter().filter_map(read));
    }
    Ok(all)
}
