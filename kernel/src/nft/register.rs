//! Registers: 64 bytes in which the expressions of one rule pass values to each other.

/// How many bytes a register of the 32-bit view has.
const SLOT: u32 = 4;
/// The first number of the 32-bit view (`NFT_REG32_00`); 1 to 4 are the four registers of 16 bytes over the same
/// room.
const FIRST_SLOT: u32 = 8;

/// A place in the 64 bytes, by its four-byte slot (0 to 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register(u32);

impl Register {
    /// The first four (or sixteen) bytes.
    pub const FIRST: Self = Self(0);

    /// The place that comes after `bytes` bytes from here, rounded up to a slot. Beyond the last slot there is no
    /// register, and the kernel refuses the rule.
    #[must_use]
    pub const fn after(self, bytes: u32) -> Self {
        Self(self.0 + bytes.div_ceil(SLOT))
    }

    /// The number, as the kernel writes it in a dump: the 16-byte view wherever a slot begins such a register.
    pub(super) const fn number(self) -> u32 {
        if self.0.is_multiple_of(SLOT) { 1 + self.0 / SLOT } else { FIRST_SLOT + self.0 }
    }

    /// The register of that number; `None` for the verdict register (0) and what does not exist.
    pub(super) const fn from_number(number: u32) -> Option<Self> {
        match number {
            1..=4 => Some(Self((number - 1) * SLOT)),
            FIRST_SLOT..=23 => Some(Self(number - FIRST_SLOT)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_of_a_place_are_one_register() {
        assert_eq!(Register::from_number(1), Register::from_number(8));
        assert_eq!(Register::from_number(2), Register::from_number(12));
        assert_eq!(Register::FIRST.number(), 1);
        assert_eq!(Register::FIRST.after(4).number(), 9);
        assert_eq!(Register::FIRST.after(16).number(), 2);
        assert_eq!(Register::FIRST.after(1), Register::FIRST.after(4));
        assert_eq!((Register::from_number(0), Register::from_number(24)), (None, None));
    }
}
