//! User data: the remarks that `nft list` shows beside objects. The kernel keeps them and does not read them.

use super::attribute::{self, Writer};

/// `NFTNL_UDATA_{TABLE,CHAIN,RULE,SET_ELEM}_COMMENT`.
const COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_COMMENT`.
const SET_COMMENT: u8 = 7;
/// `NFTNL_UDATA_SET_KEYBYTEORDER` and `_DATABYTEORDER`.
const SET_KEY_ORDER: u8 = 0;
const SET_DATA_ORDER: u8 = 1;

/// In which order the bytes of a key or datum lie, for `nft list` alone (`enum byteorder` of nft).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Neither: a concatenation or a verdict.
    Mixed = 0,
    /// The machine's own.
    Host = 1,
    /// Network order.
    Big = 2,
}

/// The longest comment: with its kind, length and zero it fills `NFT_USERDATA_MAXLEN`, 256 bytes.
const LONGEST: usize = 253;

/// Writes a comment as the user data attribute `kind`; `None` writes nothing. One that is too long is refused, not cut:
/// a comment may be what an object is found by.
pub(super) fn write(writer: &mut Writer, kind: u16, comment: Option<&str>) {
    if let Some(comment) = comment {
        let start = writer.open(kind);
        put_text(writer, COMMENT, comment);
        writer.close(start);
    }
}

/// Writes the user data of a set: byte orders, and a comment.
pub(super) fn write_set(
    writer: &mut Writer,
    kind: u16,
    orders: (Order, Option<Order>),
    comment: Option<&str>,
) {
    let start = writer.open(kind);
    put_order(writer, SET_KEY_ORDER, orders.0);
    if let Some(order) = orders.1 {
        put_order(writer, SET_DATA_ORDER, order);
    }
    if let Some(comment) = comment {
        put_text(writer, SET_COMMENT, comment);
    }
    writer.close(start);
}

/// Reads the comment of a table, chain, rule or element.
pub(super) fn read(user_data: &[u8]) -> Option<String> {
    find(user_data, COMMENT)
}

/// Reads the comment of a set.
pub(super) fn read_set(user_data: &[u8]) -> Option<String> {
    find(user_data, SET_COMMENT)
}

fn put_text(writer: &mut Writer, kind: u8, text: &str) {
    if text.len() > LONGEST {
        writer.refuse("a comment over 253 bytes");
    }
    writer.raw(&[kind, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)]);
    writer.raw(text.as_bytes());
    writer.raw(&[0]);
}

fn put_order(writer: &mut Writer, kind: u8, order: Order) {
    writer.raw(&[kind, 4]);
    writer.raw(&(order as u32).to_ne_bytes());
}

/// The first text of that kind in a list of (kind, length, value).
fn find(mut user_data: &[u8], wanted: u8) -> Option<String> {
    loop {
        let ([kind, length], rest) = user_data.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        if *kind == wanted {
            return Some(attribute::text(value));
        }
        user_data = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::Attributes;
    use super::*;

    fn written(comment: &str) -> Vec<u8> {
        let mut writer = Writer::default();
        write(&mut writer, 7, Some(comment));
        Attributes(writer.as_bytes()).find(7).unwrap().value.to_vec()
    }

    #[test]
    fn a_comment_reads_back() {
        assert_eq!(written("a:b"), [0, 4, b'a', b':', b'b', 0]);
        assert_eq!(read(&written("a:b")).as_deref(), Some("a:b"));
    }

    #[test]
    fn a_comment_that_the_kernel_would_not_keep_is_refused_not_cut() {
        for (length, unfit) in [(253, None), (254, Some("a comment over 253 bytes"))] {
            let mut writer = Writer::default();
            write(&mut writer, 7, Some(&"x".repeat(length)));
            assert_eq!(writer.unfit(), unfit);
        }
    }

    #[test]
    fn a_sets_comment_stands_after_its_byte_orders() {
        let mut writer = Writer::default();
        write_set(&mut writer, 13, (Order::Big, Some(Order::Mixed)), Some("ports"));
        let data = Attributes(writer.as_bytes()).find(13).unwrap().value.to_vec();
        assert_eq!(read_set(&data).as_deref(), Some("ports"));
    }

    #[test]
    fn torn_user_data_has_no_comment() {
        for junk in [&[][..], &[0], &[0, 9, 1], &[3, 1, 0, 0]] {
            assert_eq!(read(junk), None, "{junk:?}");
        }
    }
}
