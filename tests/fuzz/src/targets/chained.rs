//! What the targets of chained plugins share: a call out of a configuration, and what a refusal must look like.

use cni::{Call, Code, Error, Version};

use crate::targets::request::{Request, error_document};
use crate::verdict::{Reached, Verdict, hold};

/// The call of an ADD with this configuration and what the plugin means by it; or the verdict on what is refused.
pub fn accepted<C>(
    stdin: &[u8],
    of: impl FnOnce(&Call) -> Result<C, attach::Error>,
) -> Result<(Call, C), Verdict> {
    let request = Request::of("ADD", ("c1", "eth0"), "/nonexistent", stdin);
    let call = Call::read(&request.env(), request.stdin, &Version::ALL, &[])
        .map_err(|error| error_document(&error).map(|()| Reached::at(&error.msg)))?;
    let conf = of(&call).map_err(|error| refused(&error.into()))?;
    Ok((call, conf))
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
