//! What AWS was seen to match, refuse and extract, by TestMetricFilter and FilterLogEvents.

use super::*;

fn parse(pattern: &str) -> Pattern {
    Pattern::parse(pattern).unwrap_or_else(|flaw| panic!("{pattern}: {flaw:?}"))
}

/// Those of the messages that match.
fn matching<'a>(pattern: &str, messages: &[&'a str]) -> Vec<&'a str> {
    let pattern = parse(pattern);
    messages.iter().copied().filter(|message| pattern.matches(&Message::new(message))).collect()
}

#[test]
fn terms_are_all_or_none_and_any_only_by_themselves() {
    let messages =
        ["ERROR BAD REQUEST", "INFO REQUEST", "error bad request", "ERROR_ARGUMENTS", "[ERROR]\nx"];
    let [bad, info, lower, joined, bracketed] = messages;
    for (pattern, expected) in [
        ("", &messages[..]),
        (" ", &messages),
        ("ERROR", &[bad, joined, bracketed]),
        ("ERROR REQUEST", &[bad]),
        ("ERROR -REQUEST", &[joined, bracketed]),
        ("-ERROR", &[info, lower]),
        ("?ERROR ?REQUEST", &[bad, info, joined, bracketed]),
        ("?ERROR ?x REQUEST", &[bad, info]),
        ("?ERROR -REQUEST", &[lower, joined, bracketed]),
        ("\"BAD REQUEST\"", &[bad]),
        ("ERROR -\"BAD REQUEST\"", &[joined, bracketed]),
        ("\" \"", &[bad, info, lower]),
    ] {
        assert_eq!(matching(pattern, &messages), expected, "{pattern}");
    }
    assert_eq!(matching(r#""say \"x\"""#, &["say \"x\"", "say x"]), ["say \"x\""]);
}

#[test]
fn a_regular_expression_is_found_anywhere_unless_it_is_anchored() {
    let messages =
        ["ERROR 500", "xERROR 500", "ERROR\n500", "colour", "color", "hello!", "10.10.0.1", "10010,051"];
    for (pattern, expected) in [
        (r"%^ERROR\s[0-9]{3}$%", &["ERROR 500", "ERROR\n500"][..]),
        ("%ERROR|WARN%", &["ERROR 500", "xERROR 500", "ERROR\n500"]),
        ("%^colou?r$%", &["colour", "color"]),
        (r"%10\.10\.0\.1%", &["10.10.0.1"]),
        ("%10.10.0.1%", &["10.10.0.1", "10010,051"]),
        (r"%\x21%", &["hello!"]),
        ("%^[^a-z]+$%", &["ERROR 500", "ERROR\n500", "10.10.0.1", "10010,051"]),
        (r"%500$% -%^E%", &["xERROR 500"]),
        (r"%^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$%", &["10.10.0.1"]),
    ] {
        assert_eq!(matching(pattern, &messages), expected, "{pattern}");
    }
    assert_eq!(matching("%500$%", &["ERROR 500\n", "500\n\n", "500\nx\n"]), ["ERROR 500\n", "500\n\n"]);
    assert!(parse("%a%").has_regex());
    assert!(!parse("\"100%\"").has_regex());
}

#[test]
fn a_member_is_compared_as_the_number_or_the_text_that_it_is() {
    let values = [
        "null",
        "true",
        "false",
        "0",
        "1",
        "1.0",
        "1.5",
        "10",
        "-1",
        "[]",
        "{}",
        "[1,null]",
        r#""""#,
        r#""1""#,
        r#""1.0""#,
        r#""true""#,
        r#""Alpha""#,
        r#""xAlpha""#,
        r#""Alphabet""#,
        r#""a?b""#,
    ];
    let messages = values.map(|value| format!("{{\"v\":{value}}}"));
    let mut lines: Vec<&str> = messages.iter().map(String::as_str).collect();
    lines.extend(["{}", "v", "[{\"v\":1}]", "{broken"]);
    let texts =
        ["\"\"", "\"1\"", "\"1.0\"", "\"true\"", "\"Alpha\"", "\"xAlpha\"", "\"Alphabet\"", "\"a?b\""];
    let all: Vec<&str> = ["0", "1", "1.0", "1.5", "10", "-1"].into_iter().chain(texts).collect();
    let without =
        |some: &[&str]| all.iter().copied().filter(|value| !some.contains(value)).collect::<Vec<_>>();
    for (test, expected) in [
        ("= 1", vec!["1", "1.0", "\"1\""]),
        ("!= 1", without(&["1", "1.0", "\"1\""])),
        ("= \"1\"", vec!["1", "\"1\""]),
        ("> 1", vec!["1.5", "10"]),
        (">= +1", vec!["1", "1.0", "1.5", "10"]),
        ("< 1e-1", vec!["0", "-1"]),
        ("<= -1", vec!["-1"]),
        ("= Alpha", vec!["\"Alpha\""]),
        ("!= \"Alpha\"", without(&["\"Alpha\""])),
        ("= \"Alpha*\"", vec!["\"Alpha\"", "\"Alphabet\""]),
        ("= *Alpha", vec!["\"Alpha\"", "\"xAlpha\""]),
        ("= *lph*b*t", vec!["\"Alphabet\""]),
        ("= 1*", vec!["1", "1.0", "1.5", "10", "\"1\"", "\"1.0\""]),
        ("= \"a?b\"", vec!["\"a?b\""]),
        ("= \"\"", vec!["\"\""]),
        ("= %^Al.*%", vec!["\"Alpha\"", "\"Alphabet\""]),
        ("= *", all.clone()),
        ("= true", vec!["\"true\""]),
        ("IS TRUE", vec!["true"]),
        ("IS FALSE", vec!["false"]),
        ("IS NULL", vec!["null", "[1,null]"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|value| format!("{{\"v\":{value}}}")).collect();
        assert_eq!(matching(&format!("{{ $.v {test} }}"), &lines), expected, "{test}");
    }
    assert_eq!(matching("{$.v NOT EXISTS}", &lines), ["{}"]);
    assert_eq!(matching("{ $.v = 2 }", &["{\"v\":1,\"v\":2}", "{\"v\":2,\"v\":1}"]), ["{\"v\":1,\"v\":2}"]);
}

#[test]
fn a_selector_leads_through_members_and_items() {
    let lines = [
        r#"{"n":{"v":"hit"},"c.n":"flat","c":{"n":"nested"},"arr":["miss","hit"],"m":[[0,1],[2,3]],"items":[{"a":1},{"b":2}]}"#,
        r#"{"n":null,"arr":"hit","m":[[1]]}"#,
        r#"{"n":[{"v":"hit"}],"arr":{"0":"hit"},"items":[{"a":2,"b":2}]}"#,
    ];
    for (pattern, expected) in [
        (r#"{ $.n.v = "hit" }"#, &[0_usize][..]),
        (r#"{ $.['c.n'] = "flat" }"#, &[0]),
        (r#"{ $.c.n = flat }"#, &[]),
        (r#"{ $.arr[1] = "hit" }"#, &[0]),
        (r#"{ $.arr[0] = "hit" }"#, &[]),
        (r#"{ $.arr[*] = "hit" }"#, &[0, 2]),
        (r#"{ $.* = "hit" }"#, &[1]),
        ("{ $.m[1][0] = 2 }", &[0]),
        ("{ $.items[*].a = 1 && $.items[*].b = 2 }", &[0]),
        ("{ $.n.v NOT EXISTS }", &[1, 2]),
        ("{ $.missing != 1 }", &[]),
    ] {
        let expected: Vec<&str> = expected.iter().map(|index| lines[*index]).collect();
        assert_eq!(matching(pattern, &lines), expected, "{pattern}");
    }
}

#[test]
fn both_binds_closer_than_either_and_parentheses_closest() {
    let lines = [
        r#"{"a":1,"b":0,"c":0}"#,
        r#"{"a":0,"b":1,"c":1}"#,
        r#"{"a":1,"b":0,"c":1}"#,
        r#"{"a":0,"b":1,"c":0}"#,
    ];
    let [only_a, bc, ac, _] = lines;
    assert_eq!(matching("{ $.a = 1 || $.b = 1 && $.c = 1 }", &lines), [only_a, bc, ac]);
    assert_eq!(matching("{ ($.a = 1 || $.b = 1) && $.c = 1 }", &lines), [bc, ac]);
    assert_eq!(matching("{($.a=1)&&($.c>0)}", &lines), [ac]);
}

const ACCESS: [&str; 4] = [
    "127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] \"GET /index.html HTTP/1.0\" 404 1534",
    "127.0.0.3\t-\tfrank\t[10/Oct/2000:13:25:17 -0700]\t\"POST /api HTTP/1.0\"\t500\t2048",
    "127.0.0.5  -  frank [10/Oct/2000:13:25:19 -0700] \"GET /index.html HTTP/1.0\" 404 1534 extra",
    "ERROR \"unterminated words",
];

#[test]
fn fields_are_those_between_spaces_brackets_and_quotes() {
    let [not_found, failed, longer, error] = ACCESS;
    for (pattern, expected) in [
        ("[ip, id, user, time, request, status, bytes]", &[not_found, failed, longer][..]),
        ("[ip, id, user, time, request, status, bytes > 1000]", &[not_found, failed]),
        ("[ip, id, user, time, request = *html*, status = 4*, bytes]", &[not_found, longer]),
        (
            "[ip, id, user, time, request, status = 4* && status != 410 || status = 500, bytes]",
            &[not_found, failed, longer],
        ),
        (r"[ip = %127\.0\.0\.[1-3]%, ...]", &[not_found, failed]),
        ("[..., status = 404, bytes]", &[not_found]),
        ("[..., status = 404, ]", &[not_found]),
        ("[w1 = ERROR, w2]", &[error]),
        ("[w1 != ERROR && w1 != WARNING, w2]", &[not_found, failed, longer]),
        ("[(w1 = \"ERROR\" || w1 = 127.0.0.1), ...]", &[not_found, error]),
        ("[]", &ACCESS),
    ] {
        assert_eq!(matching(pattern, &ACCESS), expected, "{pattern}");
    }
    assert_eq!(matching("[]", &["", " "]), Vec::<&str>::new());
}

#[test]
fn fields_are_shown_by_name_or_by_number() {
    let shown = |pattern: &str, message: &str| {
        let shown = parse(pattern).extracted(&Message::new(message));
        shown.iter().map(|(name, text)| format!("{name}={text}")).collect::<Vec<_>>().join("; ")
    };
    let [not_found, _, _, error] = ACCESS;
    assert_eq!(
        shown("[ip, ..., status, bytes]", not_found),
        "$ip=127.0.0.1; $2=-; $3=frank; $4=10/Oct/2000:13:25:15 -0700; $5=GET /index.html HTTP/1.0; $status=404; \
         $bytes=1534"
    );
    assert_eq!(shown("[..., w]", error), "$1=ERROR; $2=\"unterminated; $w=words");
    assert_eq!(shown("[w1, w2]", error), "$w1=ERROR; $w2=\"unterminated words");
    assert_eq!(shown("[]", "a [b c] d\n"), "$1=a; $2=b c; $3=d");
    assert_eq!(shown("{ $.v = 1 }", "{\"v\":1}"), "");
}

#[test]
fn a_value_is_extracted_where_the_pattern_has_such_values() {
    let extracted = |pattern: &str, selector: &str, line: &str| {
        let (pattern, message) = (parse(pattern), Message::new(line));
        let extractor = pattern.extractor(selector)?;
        Some(pattern.extract(&extractor, &message).map(|text| text.into_owned()))
    };
    let line = r#"{"a":{"b":[7.5,"x"]},"flag":true}"#;
    let some = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(extracted("{ $.a.b[0] = * }", "$.a.b[0]", line), some("7.5"));
    assert_eq!(extracted("{ $.a.b[0] = * }", "$.a.b[1]", line), some("x"));
    assert_eq!(extracted("{ $.a.b[0] = * }", "$.flag", line), some("true"));
    assert_eq!(extracted("{ $.a.b[0] = * }", "$.missing", line), Some(None));
    assert_eq!(extracted("[kind, value]", "$value", "SPACE \"17.5\""), some("17.5"));
    assert_eq!(extracted("[kind, ...]", "$2", "SPACE 13 A"), some("13"));
    assert_eq!(extracted("[kind, value]", "$missing", "SPACE 13"), Some(None));
    for (pattern, selector) in [
        ("{ $.a = 1 }", "$.items[*].value"),
        ("{ $.a = 1 }", "$a"),
        ("{ $.a = 1 }", "literal"),
        ("[a, b]", "$.a"),
        ("[a, b]", "$"),
        ("ERROR", "$.a"),
    ] {
        assert_eq!(extracted(pattern, selector, line), None, "{pattern} {selector}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for pattern in [
        "{ $.v = }",
        "{ $.v EXISTS }",
        "{ $.v IS NOT NULL }",
        "{ $.v == 1 }",
        "{ !($.v = 1) }",
        "{ $.v > 0 AND $.v < 2 }",
        "{ $.v = null }",
        "{ $.v > Alpha }",
        "{ v = 1 }",
        "{ $ = 1 }",
        "{ $..v = 1 }",
        "{ $.a[-1] = 1 }",
        "{ $.a[0:2] = 1 }",
        "{ $.v = 1",
        "{ ($.v = 1 }",
        "{ $.v = 1 } x",
        "{}",
        "[a, b",
        "[a = ]",
        "[a, b = 1 && c = 2]",
        "[a IS TRUE]",
        "[a b]",
        "%[abc%",
        "%abc",
        "%%",
        "%a{99}{99}{99}{99}%",
        "%[a-z0-9]{99}{99}_%",
        "-",
        "? a",
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap_err(), Flaw::Syntax, "{pattern}");
    }
    for (pattern, message) in [
        ("\"ERROR", "Invalid character(s) in term '\"ERROR'"),
        ("ERR*", "Invalid character(s) in term '*'"),
        ("%^(ERROR|WARN)%", "Invalid character(s) in term '%^('"),
        ("%hello!%", "Invalid character(s) in term '%hello!'"),
        ("%café%", "Invalid character(s) in term '%café'"),
        ("{ $.v = %(Alpha|Beta)% }", "Invalid character(s) in term '%('"),
        ("{ $.v > \"Alpha\" }", "Invalid character(s) in term '\"Alpha\"'"),
        ("[word, word]", "Duplicate field 'word'"),
        ("[..., status, ...]", "Duplicate field '...'"),
        (
            "{ $.v = %a% || $.v = %b% || $.v = %c% }",
            "Your input has exceeded the maximum of 2 regular expressions per filter pattern.",
        ),
        (
            "{ $.items[*].* = 1 }",
            "Your filter pattern has a JSON path selector that exceeds the maximum of 1 wildcard allowed per json \
             selector.",
        ),
        (
            "{ $.a[*] = 1 || $.b[*].a = 1 || $.* = 1 || $.c[*][0] = 0 }",
            "Your input has exceeded the maximum of 3 JSON wildcard selectors allowed per filter pattern.",
        ),
    ] {
        assert_eq!(Pattern::parse(pattern).unwrap_err(), Flaw::Named(message.to_owned()), "{pattern}");
    }
}

#[test]
fn a_pattern_is_bounded_in_length_and_depth() {
    let nested = |depth: usize| format!("{{ {}$.v = 1{} }}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(matching(&nested(32), &["{\"v\":1}"]), ["{\"v\":1}"]);
    assert_eq!(Pattern::parse(&nested(33)).unwrap_err(), Flaw::Syntax);
    assert!(Pattern::parse(&"é".repeat(1023)).is_err());
    assert!(Pattern::parse(&"x".repeat(1024)).is_ok());
    let Flaw::Named(refused) = Pattern::parse(&"x".repeat(1025)).unwrap_err() else { panic!("unnamed") };
    assert!(refused.ends_with("length less than or equal to 1024"), "{refused}");
}

#[test]
fn an_expression_is_bounded_where_none_that_is_used_is_larger() {
    for pattern in [
        r"%^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$%",
        r"%\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z\s+[A-Z]{4,5}\s.*[Tt]imed\sout%",
        "%[A-Za-z0-9+=/]{256}%",
        "%[a-z0-9]{3}{99}_%",
    ] {
        assert!(parse(pattern).has_regex(), "{pattern}");
    }
    assert!(parse(&format!("%{}%", "x".repeat(900))).matches(&Message::new(&"x".repeat(900))));
    assert_eq!(Pattern::parse("%[a-z0-9]{5}{99}_%").unwrap_err(), Flaw::Syntax);
}

#[test]
fn a_long_line_of_marks_that_nothing_closes_is_taken_apart_at_once() {
    let line = "[ ".repeat(500_000);
    assert!(parse("[..., last = \"[\"]").matches(&Message::new(&line)));
}
