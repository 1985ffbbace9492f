//! `CNI_ARGS`: "K=V;K2=V2", read exactly as the Go library reads it.

use crate::error::Error;
use crate::refusal::Refusal;

/// Splits `CNI_ARGS` into the pairs whose keys are known, in their order; the last of equal keys stays.
///
/// Keys are case-sensitive. Each pair has exactly one `=`, so a trailing `;` and a value with `=` are errors.
/// An unknown key is an error unless `IgnoreUnknown` is `1` or `true`, wherever that stands. Code 4.
pub fn parse_args(text: &str, known: &[&str]) -> Result<Vec<(String, String)>, Error> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut unknown = Vec::new();
    let mut ignore_unknown = false;
    if text.is_empty() {
        return Ok(pairs);
    }
    for pair in text.split(';') {
        let (key, value) = split(pair)?;
        if key == "IgnoreUnknown" {
            ignore_unknown = truth(pair, value)?;
        } else if known.contains(&key) {
            pairs.retain(|(earlier, _)| earlier != key);
            pairs.push((key.to_owned(), value.to_owned()));
        } else {
            unknown.push(pair.to_owned());
        }
    }
    if unknown.is_empty() || ignore_unknown {
        Ok(pairs)
    } else {
        Err(Refusal::ArgsUnknown { pairs: unknown }.into())
    }
}

fn split(pair: &str) -> Result<(&str, &str), Refusal> {
    pair.split_once('=')
        .filter(|(_, value)| !value.contains('='))
        .ok_or_else(|| Refusal::ArgsPair { pair: pair.to_owned() })
}

fn truth(pair: &str, value: &str) -> Result<bool, Refusal> {
    let value = value.to_lowercase();
    match value.as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Refusal::ArgsIgnoreUnknown { pair: pair.to_owned(), value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
        parse_args(text, &["IP", "MAC"]).map_err(|error| {
            assert_eq!(error.code, Code::INVALID_ENVIRONMENT);
            error.msg
        })
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn known_pairs_come_back_and_the_last_of_equal_keys_stays() {
        assert_eq!(parse("").unwrap(), pairs(&[]));
        assert_eq!(parse("IP=10.0.0.1").unwrap(), pairs(&[("IP", "10.0.0.1")]));
        assert_eq!(parse("IP=a;MAC=;IP=b").unwrap(), pairs(&[("MAC", ""), ("IP", "b")]));
    }

    #[test]
    fn what_containerd_sends_is_ignored_in_any_order() {
        for text in ["IgnoreUnknown=1;K8S_POD_NAME=p;IP=a", "K8S_POD_NAME=p;IP=a;IgnoreUnknown=1"] {
            assert_eq!(parse(text).unwrap(), pairs(&[("IP", "a")]));
        }
        assert_eq!(parse("X=1;IgnoreUnknown=TRUE").unwrap(), pairs(&[]));
    }

    #[test]
    fn unknown_keys_are_listed_and_case_matters() {
        assert_eq!(parse("a=1;IP=x;b=2").unwrap_err(), "ARGS: unknown args [\"a=1\" \"b=2\"]");
        assert_eq!(parse("ip=1").unwrap_err(), "ARGS: unknown args [\"ip=1\"]");
        assert_eq!(parse("ignoreunknown=1").unwrap_err(), "ARGS: unknown args [\"ignoreunknown=1\"]");
        assert_eq!(parse("X=1;IgnoreUnknown=1;IgnoreUnknown=0").unwrap_err(), "ARGS: unknown args [\"X=1\"]");
    }

    #[test]
    fn a_pair_has_exactly_one_equals_sign_even_when_unknown_is_ignored() {
        for (text, pair) in
            [("IgnoreUnknown=1;IP", "IP"), ("IgnoreUnknown=1;", ""), ("IP=a=b", "IP=a=b"), (";", "")]
        {
            assert_eq!(parse(text).unwrap_err(), format!("ARGS: invalid pair {pair:?}"));
        }
    }

    #[test]
    fn ignore_unknown_is_a_strict_boolean() {
        assert_eq!(parse("IgnoreUnknown=False;IP=a").unwrap(), pairs(&[("IP", "a")]));
        let expected = "ARGS: error parsing value of pair \"IgnoreUnknown=Yes\": boolean unmarshal error: invalid input yes";
        assert_eq!(parse("IgnoreUnknown=Yes").unwrap_err(), expected);
    }
}
