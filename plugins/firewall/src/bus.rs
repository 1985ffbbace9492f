//! The system bus, as far as firewalld needs it.

use std::time::Duration;

use attach::Error;
use rustbus::connection::Timeout;
use rustbus::message_builder::MarshalledMessage;
use rustbus::{MessageBuilder, MessageType, RpcConn};

use crate::firewalld::refused;

/// The name that the daemon owns.
const NAME: &str = "org.fedoraproject.FirewallD1";
/// Its object.
const OBJECT: &str = "/org/fedoraproject/FirewallD1";
/// Its interface for zones.
const ZONES: &str = "org.fedoraproject.FirewallD1.zone";

/// How long one answer may take: firewalld applies a change before it answers.
const PATIENCE: Timeout = Timeout::Duration(Duration::from_secs(25));

/// A connection to the system bus.
pub struct Bus(RpcConn);

/// What the daemon answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A method without a yes or no.
    Done,
    /// Yes or no.
    Bool(bool),
    /// An error.
    Refused {
        /// Its D-Bus name.
        name: String,
        /// Its text; firewalld's begins with a code in capitals.
        text: String,
    },
}

impl Bus {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Program`] when there is no bus.
    pub fn open() -> Result<Self, Error> {
        RpcConn::system_conn(PATIENCE)
            .map(Self)
            .map_err(|error| failed("connecting to the system bus", &error))
    }

    /// Whether firewalld runs.
    pub fn has_owner(&mut self) -> Result<bool, Error> {
        let call = MessageBuilder::new()
            .call("NameHasOwner")
            .on("/org/freedesktop/DBus")
            .with_interface("org.freedesktop.DBus")
            .at("org.freedesktop.DBus");
        let mut message = call.build();
        message.body.push_param(NAME).map_err(|error| failed("writing a message", &error))?;
        Ok(self.ask(&mut message)? == Answer::Bool(true))
    }

    /// Calls a method about a source of a zone.
    pub fn zone_call(&mut self, method: &str, zone: &str, source: &str) -> Result<Answer, Error> {
        let mut message =
            MessageBuilder::new().call(method).on(OBJECT).with_interface(ZONES).at(NAME).build();
        message.body.push_param2(zone, source).map_err(|error| failed("writing a message", &error))?;
        self.ask(&mut message)
    }

    fn ask(&mut self, message: &mut MarshalledMessage) -> Result<Answer, Error> {
        let name = message.dynheader.member.clone().unwrap_or_default();
        let doing = || name.clone();
        let sent = self.0.send_message(message).map_err(|error| failed(&doing(), &error))?;
        let serial = sent.write_all().map_err(|(context, error)| {
            context.force_finish();
            failed(&doing(), &error)
        })?;
        let answer = self.0.wait_response(serial, PATIENCE).map_err(|error| failed(&doing(), &error))?;
        Ok(read(&answer))
    }
}

fn read(answer: &MarshalledMessage) -> Answer {
    if answer.typ == MessageType::Error {
        let name = answer.dynheader.error_name.clone().unwrap_or_default();
        let text = answer.body.parser().get::<String>().unwrap_or_default();
        return Answer::Refused { name, text };
    }
    answer.body.parser().get::<bool>().map_or(Answer::Done, Answer::Bool)
}

fn failed(doing: &str, error: &impl std::fmt::Debug) -> Error {
    refused(doing, &format!("{error:?}"))
}
