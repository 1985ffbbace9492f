//! Requests out of bytes, and what every answer must look like.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use cni::{Env, Response};
use serde_json::Value;

use crate::verdict::{Broken, hold, must, same};

/// An environment and a configuration.
#[derive(Clone, Debug)]
pub struct Request {
    variables: Vec<(OsString, OsString)>,
    /// The configuration.
    pub stdin: Vec<u8>,
}

impl Request {
    /// `NAME=value` lines up to an empty one; what follows is the configuration.
    pub fn parse(data: &[u8]) -> Self {
        let mut rest = data;
        let mut variables = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = behind.get(1..).unwrap_or_default();
            if line.is_empty() {
                break;
            }
            let mut parts = line.splitn(2, |byte| *byte == b'=');
            let mut part = || OsString::from_vec(parts.next().unwrap_or_default().to_vec());
            variables.push((part(), part()));
        }
        Self { variables, stdin: rest.to_vec() }
    }

    /// A well-formed environment around a configuration.
    pub fn of(command: &str, owner: (&str, &str), path: &str, stdin: &[u8]) -> Self {
        let (container, ifname) = owner;
        let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let variables = vec![
            set("CNI_COMMAND", command),
            set("CNI_CONTAINERID", container),
            set("CNI_NETNS", "/nonexistent/netns"),
            set("CNI_IFNAME", ifname),
            set("CNI_PATH", path),
            set("CNI_ARGS", ""),
        ];
        Self { variables, stdin: stdin.to_vec() }
    }

    /// The same with another `CNI_ARGS`.
    pub fn with_args(mut self, args: &str) -> Self {
        for (name, value) in &mut self.variables {
            if name == "CNI_ARGS" {
                *value = OsString::from(args);
            }
        }
        self
    }

    /// The environment.
    pub fn env(&self) -> Env {
        self.variables.iter().cloned().collect()
    }

    /// What a variable is; the first of several counts.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        let (_, value) = self.variables.iter().find(|(key, _)| key == name)?;
        Some(value).filter(|value| !value.is_empty())
    }
}

/// An error prints as one JSON object that says the same.
pub fn error_document(error: &cni::Error) -> Result<(), Broken> {
    let read: Value = must("an error object is JSON", serde_json::from_str(&error.to_json()))?;
    let text = |key: &str| read.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    same("code", &read.get("code").and_then(Value::as_u64), &Some(u64::from(error.code.0)))?;
    same("msg", &text("msg"), &error.msg)?;
    same("details", &text("details"), &error.details)?;
    hold(error.code.0 != 0, || format!("an error has a code: {error:?}"))?;
    hold(error.code != cni::Code::INTERNAL, || format!("999 is for bugs alone: {error:?}"))?;
    hold(!error.msg.is_empty(), || format!("an error has a message: {error:?}"))
}

/// What a plugin process leaves is exit status 0 or 1, and on stdout nothing or one JSON document.
pub fn answer(response: &Response) -> Result<Option<Value>, Broken> {
    let Response { stdout, exit, .. } = response;
    hold(*exit <= 1, || format!("exit status {exit}"))?;
    if stdout.is_empty() {
        hold(*exit == 0, || "an error without a document".to_owned())?;
        return Ok(None);
    }
    let document: Value = must("stdout is one JSON document", serde_json::from_str(stdout))?;
    let members = document.as_object().ok_or_else(|| Broken::new(format!("no object: {stdout}")))?;
    if *exit == 1 {
        let number = |key: &str| members.get(key).and_then(Value::as_u64);
        hold(number("code").is_some_and(|code| code != 0 && code != 999), || format!("no code: {stdout}"))?;
        let text = members.get("msg").and_then(Value::as_str).unwrap_or_default();
        hold(!text.is_empty(), || format!("no message: {stdout}"))?;
        let known = |key: &String| ["code", "msg", "details"].contains(&key.as_str());
        hold(members.keys().all(known), || format!("other members: {stdout}"))?;
    }
    Ok(Some(document))
}

/// What an answer is like, for [`crate::Reached`].
pub fn gist(response: &Response) -> String {
    format!("{} {} {}", response.exit, response.stdout.replace('"', ""), response.stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_lines_then_the_configuration() {
        let request = Request::parse(b"CNI_COMMAND=ADD\nA=b=c\n\n{}\n\n");
        assert_eq!(request.get("A"), Some(&OsString::from("b=c")));
        assert_eq!(request.stdin, b"{}\n\n");
        assert_eq!(Request::parse(b"A=1").get("A"), Some(&OsString::from("1")));
    }

    #[test]
    fn only_one_document_and_only_exit_0_or_1_is_an_answer() {
        let response =
            |stdout: &str, exit| Response { stdout: stdout.to_owned(), stderr: String::new(), exit };
        let error = r#"{"code":7,"msg":"m"}"#;
        for (stdout, exit) in [("", 0), ("{}", 0), (error, 1)] {
            assert!(answer(&response(stdout, exit)).is_ok(), "{stdout} {exit}");
        }
        let twice = format!("{error}{error}");
        let bug = r#"{"code":999,"msg":"m"}"#;
        for (stdout, exit) in
            [("", 1), ("{}", 1), (error, 2), (&twice, 1), (bug, 1), ("7", 0), (r#"{"code":7}"#, 1)]
        {
            assert!(answer(&response(stdout, exit)).is_err(), "{stdout} {exit}");
        }
    }
}
