//! What the targets of chained plugins share: a call out of a configuration, and what a refusal must look like.

use cni::{Call, Code, Error, Version};

use crate::targets::request::{Request, error_document};
use crate::verdict::{Reached, Verdict, hold};

/// The call of an ADD with this configuration, or the verdict on what the protocol refuses.
pub fn call(stdin: &[u8]) -> Result<Call, Verdict> {
    let request = Request::of("ADD", ("c1", "eth0"), "/nonexistent", stdin);
    Call::read(&request.env(), request.stdin, &Version::ALL, &[])
        .map_err(|error| error_document(&error).map(|()| Reached::at(&error.msg)))
}

/// A refused configuration has one of the codes for it.
pub fn refused(error: &Error) -> Verdict {
    error_document(error)?;
    let codes = [Code::UNSUPPORTED_FIELD, Code::INVALID_CONFIG, Code::INVALID_ENVIRONMENT];
    hold(codes.contains(&error.code), || format!("code of a refused configuration: {error:?}"))?;
    Ok(Reached::at(&error.msg))
}

/// What an accepted configuration led to.
pub fn reached(accepted: &impl std::fmt::Debug) -> Reached {
    Reached::at(&format!("{accepted:?}").replace('"', ""))
}
