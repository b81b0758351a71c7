//! JSON with two spaces of indentation, from compact JSON, without decoding it.
//!
//! Counterpart in Kubernetes: `json.Indent` for clients that are people. Keys keep their order.

/// Indents compact JSON and ends it with a newline.
pub(super) fn indent(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut at = 0;
    while at < json.len() {
        let byte = json[at];
        at += 1;
        if in_text {
            out.push(byte);
            match byte {
                b'\\' if at < json.len() => {
                    out.push(json[at]);
                    at += 1;
                }
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' if matches!(json.get(at), Some(b'}' | b']')) => {
                out.extend([byte, json[at]]);
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                out.push(byte);
                line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out.push(b'\n');
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.resize(out.len() + 2 * depth, b' ');
}

#[cfg(test)]
mod tests {
    use super::indent;

    #[test]
    fn indent_compact_json_reads_as_go_prints_it() {
        let json = br#"{"a":{},"b":[1,"x:,{\"}"],"c":[]}"#;
        let expected =
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    \"x:,{\\\"}\"\n  ],\n  \"c\": []\n}\n";
        assert_eq!(String::from_utf8(indent(json)).expect("text"), expected);
    }
}
