//! The CNI protocol as a plugin sees it: request, configuration, result, versions, error codes, delegation.
//!
//! A plugin implements [`Plugin`] and its `main` is one call of [`run()`]. Everything between the two is
//! here: the environment table, the order in which a request is refused, Go's JSON habits that runtimes
//! depend on, the three result layouts and the search for and call of delegates. Nothing here knows Linux.

mod args;
mod call;
mod cidr;
mod delegate;
mod dispatch;
mod encode;
mod environment;
mod error;
mod exec;
mod folded;
mod node;
mod plugin;
mod print;
mod refusal;
mod result;
mod run;
mod sandbox;
mod version;

pub use args::parse_args;
pub use call::{Attachment, Call, Command};
pub use cidr::{Cidr, CidrError};
pub use delegate::Delegate;
pub use dispatch::{Response, respond};
pub use environment::Env;
pub use error::{Code, Error};
pub use folded::{from_json, opt_ip};
pub use plugin::{Added, Plugin, Registry};
pub use result::{AddResult, Dns, Interface, Ip, Route};
pub use run::run;
pub use version::Version;
