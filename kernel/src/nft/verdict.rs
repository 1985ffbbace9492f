//! What a rule or a verdict map decides about a packet.

use super::attribute::{Attributes, Writer};

/// A decision. `Jump` and `Goto` name a chain of the same table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet is gone.
    Drop,
    /// This base chain is done with it; later hooks and base chains still see it.
    Accept,
    /// Back to the calling chain, or to the policy.
    Return,
    /// On with the next rule.
    Continue,
    /// Into a chain, and back when it ends.
    Jump(String),
    /// Into a chain, never back.
    Goto(String),
    /// Any other code (`NF_QUEUE`, `NF_STOLEN`), as another program set it.
    Other(i32),
}

/// `NFTA_DATA_VERDICT`, inside a data attribute.
const DATA_VERDICT: u16 = 2;
const CODE: u16 = 1;
const CHAIN: u16 = 2;

/// `enum nft_verdicts` and `NF_DROP`, `NF_ACCEPT`.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const CONTINUE: i32 = -1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;

impl Verdict {
    /// A jump to that chain.
    pub fn jump(chain: impl Into<String>) -> Self {
        Self::Jump(chain.into())
    }

    /// A goto to that chain.
    pub fn goto(chain: impl Into<String>) -> Self {
        Self::Goto(chain.into())
    }

    /// The chain that this leads to.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Drop | Self::Accept | Self::Return | Self::Continue | Self::Other(_) => None,
        }
    }

    const fn code(&self) -> i32 {
        match self {
            Self::Drop => DROP,
            Self::Accept => ACCEPT,
            Self::Return => RETURN,
            Self::Continue => CONTINUE,
            Self::Jump(_) => JUMP,
            Self::Goto(_) => GOTO,
            Self::Other(code) => *code,
        }
    }

    /// Writes it as the content of a data attribute.
    pub(super) fn write(&self, writer: &mut Writer) {
        writer.nest(DATA_VERDICT, |inner| {
            inner.u32(CODE, self.code().cast_unsigned());
            if let Some(chain) = self.target() {
                inner.text(CHAIN, chain);
            }
        });
    }

    /// Reads it from the content of a data attribute; `None` when there is no verdict in it.
    pub(super) fn read(data: Attributes<'_>) -> Option<Self> {
        let verdict = data.nested(DATA_VERDICT);
        let chain = verdict.text(CHAIN);
        Some(match (verdict.u32(CODE)?.cast_signed(), chain) {
            (DROP, _) => Self::Drop,
            (ACCEPT, _) => Self::Accept,
            (RETURN, _) => Self::Return,
            (CONTINUE, _) => Self::Continue,
            (JUMP, Some(chain)) => Self::Jump(chain),
            (GOTO, Some(chain)) => Self::Goto(chain),
            (code, _) => Self::Other(code),
        })
    }
}
