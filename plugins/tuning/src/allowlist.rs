//! The administrator's list of kernel parameters that a configuration may set.

use std::fs;
use std::io::ErrorKind;

use attach::Error;
use regex_lite::Regex;

use crate::Cause;
use crate::keys::Parameter;

/// Where it is. Nothing there means that all are allowed, an empty file that none is.
pub const FILE: &str = "/etc/cni/tuning/allowlist.conf";

/// Refuses parameters that the list does not allow.
pub fn permit(parameters: &[Parameter]) -> Result<(), Error> {
    if parameters.is_empty() {
        return Ok(());
    }
    match fs::read_to_string(FILE) {
        Ok(text) => permitted_by(&text, parameters),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Cause::File { doing: "reading", path: FILE.into(), source }.into()),
    }
}

/// Each line that is not blank is a regular expression for a whole key as it is written in a configuration.
pub fn permitted_by(text: &str, parameters: &[Parameter]) -> Result<(), Error> {
    let mut patterns = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let pattern = Regex::new(&format!("^(?:{line})$"));
        patterns.push(pattern.map_err(|_| Cause::Pattern { line: line.to_owned() })?);
    }
    let is_allowed = |key: &str| patterns.iter().any(|pattern| pattern.is_match(key));
    match parameters.iter().find(|parameter| !is_allowed(&parameter.key)) {
        Some(parameter) => Err(Cause::NotAllowed { key: parameter.key.clone() }.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(text: &str, key: &str) -> bool {
        let parameter = Parameter { key: key.into(), path: String::new(), value: String::new() };
        permitted_by(text, &[parameter]).is_ok()
    }

    #[test]
    fn weakness_51_a_line_speaks_about_whole_keys() {
        let list = "\n  net.core.somaxconn \n^net.ipv4.conf.IFNAME.[a-z_]*$\nnet.ipv4.tcp_a|net.ipv4.tcp_b\n";
        for (key, allowed) in [
            ("net.core.somaxconn", true),
            ("net.ipv4.conf.IFNAME.arp_filter", true),
            ("net.ipv4.tcp_b", true),
            ("net.core.somaxconn.more", false),
            ("xnet.core.somaxconn", false),
            ("net.ipv4.tcp_bc", false),
            ("net.ipv4.ip_forward", false),
        ] {
            assert_eq!(permits(list, key), allowed, "{key}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(!permits("", "net.core.somaxconn"));
        assert!(!permits("\n \n", "net.core.somaxconn"));
    }

    #[test]
    fn a_line_that_is_no_expression_allows_nothing_and_is_named() {
        let parameter = Parameter { key: "net.a".into(), path: String::new(), value: String::new() };
        let refusal = permitted_by("net.a\n(", &[parameter]).unwrap_err();
        assert!(refusal.to_string().contains("\"(\""), "{refusal}");
    }
}
