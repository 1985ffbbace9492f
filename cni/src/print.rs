//! JSON as Go prints it: four spaces, HTML characters escaped, nothing at the end.

use std::fmt::Write;

use crate::node::Node;

/// The document with an indent of four spaces and no newline at the end (`json.MarshalIndent`).
pub(crate) fn pretty(node: &Node) -> String {
    let mut out = String::with_capacity(512);
    write_node(&mut out, node, 0);
    out
}

fn write_node(out: &mut String, node: &Node, depth: usize) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(true) => out.push_str("true"),
        Node::Bool(false) => out.push_str("false"),
        Node::Number(number) => out.push_str(&number.to_string()),
        Node::String(text) => write_string(out, text),
        Node::Array(items) if items.is_empty() => out.push_str("[]"),
        Node::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "[" } else { "," });
                write_line_start(out, depth + 1);
                write_node(out, item, depth + 1);
            }
            write_line_start(out, depth);
            out.push(']');
        }
        Node::Object(entries) if entries.is_empty() => out.push_str("{}"),
        Node::Object(entries) => {
            for (position, (key, value)) in entries.iter().enumerate() {
                out.push_str(if position == 0 { "{" } else { "," });
                write_line_start(out, depth + 1);
                write_string(out, key);
                out.push_str(": ");
                write_node(out, value, depth + 1);
            }
            write_line_start(out, depth);
            out.push('}');
        }
    }
}

fn write_line_start(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

/// A JSON string with Go's escapes: also `<`, `>`, `&`, U+2028 and U+2029.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape(out, character),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, character: char) {
    // writing into a String cannot fail
    write!(out, "\\u{:04x}", u32::from(character)).ok();
}

/// The text as Go's `%q` quotes it in messages.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // writing into a String cannot fail
            '\0'..='\u{1f}' | '\u{7f}' => write!(out, "\\x{:02x}", u32::from(character)).unwrap_or_default(),
            other if other.is_control() || (other.is_whitespace() && other != ' ') => escape(&mut out, other),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// A list as Go's `%q` prints one: `["a" "b"]`.
pub(crate) fn quoted_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let node = Node::from("<a>&\"\\\u{8}\u{c}\n\r\t\u{1}\u{7f}\u{2028}\u{2029}é/");
        let expected = "\"\\u003ca\\u003e\\u0026\\\"\\\\\\b\\f\\n\\r\\t\\u0001\u{7f}\\u2028\\u2029é/\"";
        assert_eq!(pretty(&node), expected);
    }

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        let text = br#"{"a":[1,-2,2.5,[],{},{"b":[null,true,false]}],"<k>":"\u2028\u0000"}"#;
        let node = Node::parse(text).unwrap();
        assert_eq!(Node::parse(pretty(&node).as_bytes()).unwrap(), node);
    }

    #[test]
    fn nesting_is_indented_by_four_spaces() {
        let node = Node::parse(br#"{"a":[1,{}],"b":[]}"#).unwrap();
        assert_eq!(pretty(&node), "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": []\n}");
    }

    #[test]
    fn messages_quote_as_go_does() {
        assert_eq!(quoted("a\"b\\\n\u{1}\u{7f}\u{85}é\u{7}"), "\"a\\\"b\\\\\\n\\x01\\x7f\\u0085é\\a\"");
        assert_eq!(quoted_list(["a", "b c"]), "[\"a\" \"b c\"]");
        assert_eq!(quoted_list([]), "[]");
    }
}
