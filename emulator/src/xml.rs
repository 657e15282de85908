//! Text in the XML of the query protocol and of S3.

/// For text and for attributes. A bare carriage return would be read as a line feed.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_read_as_something_else_is_escaped() {
        let text = "<a b=\"c\">&lt;\r\n</a>";
        assert_eq!(escape(text), "&lt;a b=&quot;c&quot;&gt;&amp;lt;&#xD;\n&lt;/a&gt;");
    }
}
