//! Which route serves a method and path of an HTTP API.

use http::Method;
use percent_encoding::percent_decode_str;

/// A parsed route key: `$default`, or a method (or `ANY`) and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RouteKey {
    Default,
    Path { method: Option<Method>, segments: Vec<Segment> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(String),
    /// `{id}`: exactly one segment.
    Variable(String),
    /// `{proxy+}`: all that is left behind a slash, which may be nothing: `/a/{proxy+}` takes `/a/`, and not `/a`.
    Greedy(String),
}

impl RouteKey {
    pub(super) fn parse(key: &str) -> Option<Self> {
        if key == "$default" {
            return Some(Self::Default);
        }
        let (method, path) = key.split_once(' ')?;
        let method = match method {
            "ANY" => None,
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS" => Some(method.parse().ok()?),
            _ => return None,
        };
        let path = path.strip_prefix('/')?;
        let segments: Vec<_> = path.split('/').map(Segment::parse).collect();
        // A greedy variable catches all that follows: it can only be the last segment.
        let greedy_early = segments.iter().rev().skip(1).any(|segment| matches!(segment, Segment::Greedy(_)));
        (!greedy_early).then_some(Self::Path { method, segments })
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Variable(name.to_owned()),
            },
            None => Self::Literal(text.to_owned()),
        }
    }

    /// Smaller is more specific: "full match" before greedy, static before variable.
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Variable(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

/// Path variables by name, percent-decoded.
pub(super) type PathVariables = Vec<(String, String)>;

/// All routes of one deployment.
#[derive(Debug)]
pub(super) struct Router<T> {
    /// Most specific first, so that the first match is the right one.
    routes: Vec<(Option<Method>, Vec<Segment>, T)>,
    default: Option<T>,
}

impl<T> Router<T> {
    pub(super) fn new(keyed: impl IntoIterator<Item = (RouteKey, T)>) -> Self {
        let mut routes = Vec::new();
        let mut default = None;
        for (key, route) in keyed {
            match key {
                RouteKey::Default => default = Some(route),
                RouteKey::Path { method, segments } => routes.push((method, segments, route)),
            }
        }
        routes.sort_by_cached_key(|(method, segments, _)| {
            let greedy = matches!(segments.last(), Some(Segment::Greedy(_)));
            (greedy, segments.iter().map(Segment::rank).collect::<Vec<_>>(), method.is_none())
        });
        Self { routes, default }
    }

    pub(super) fn find(&self, method: &Method, path: &str) -> Option<(&T, PathVariables)> {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        for (wanted, pattern, route) in &self.routes {
            if wanted.as_ref().is_some_and(|wanted| wanted != method) {
                continue;
            }
            if let Some(variables) = matched(pattern, &segments) {
                return Some((route, variables));
            }
        }
        self.default.as_ref().map(|route| (route, PathVariables::new()))
    }
}

fn matched(pattern: &[Segment], segments: &[&str]) -> Option<PathVariables> {
    let mut variables = PathVariables::new();
    for (position, expected) in pattern.iter().enumerate() {
        let actual = segments.get(position)?;
        match expected {
            Segment::Literal(text) if decode(actual) == *text => {}
            Segment::Variable(name) if !actual.is_empty() => variables.push((name.clone(), decode(actual))),
            Segment::Greedy(name) => {
                variables.push((name.clone(), decode(&segments[position..].join("/"))));
                return Some(variables);
            }
            Segment::Literal(_) | Segment::Variable(_) => return None,
        }
    }
    (segments.len() == pattern.len()).then_some(variables)
}

pub(super) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(keys: &[&'static str]) -> Router<&'static str> {
        Router::new(keys.iter().map(|key| (RouteKey::parse(key).unwrap(), *key)))
    }

    fn found(router: &Router<&'static str>, method: Method, path: &str) -> Option<&'static str> {
        router.find(&method, path).map(|(route, _)| *route)
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        // The example of the developer guide, "Working with routes for HTTP APIs".
        let routes = router(&[
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "GET /pets/dog/1",
        ]);
        assert_eq!(found(&routes, Method::GET, "/pets/dog/1"), Some("GET /pets/dog/1"));
        assert_eq!(found(&routes, Method::GET, "/pets/dog/2"), Some("GET /pets/dog/{id}"));
        assert_eq!(found(&routes, Method::GET, "/pets/cat/1"), Some("GET /pets/{proxy+}"));
        assert_eq!(found(&routes, Method::POST, "/test/5"), Some("ANY /{proxy+}"));
        assert_eq!(found(&routes, Method::GET, "/"), Some("ANY /{proxy+}"));
    }

    #[test]
    fn a_greedy_variable_may_be_empty_behind_its_slash() {
        let routes = router(&["$default", "ANY /{proxy+}"]);
        let (route, variables) = routes.find(&Method::GET, "/").unwrap();
        assert_eq!((*route, &variables[..]), ("ANY /{proxy+}", &[("proxy".to_owned(), String::new())][..]));
        let routes = router(&["$default", "ANY /handler/{proxy+}", "GET /"]);
        assert_eq!(found(&routes, Method::GET, "/handler/"), Some("ANY /handler/{proxy+}"));
        assert_eq!(found(&routes, Method::GET, "/handler"), Some("$default"));
        assert_eq!(found(&router(&["ANY /{proxy+}", "GET /"]), Method::GET, "/"), Some("GET /"));
    }

    #[test]
    fn any_catches_only_methods_that_the_path_does_not_define() {
        let routes = router(&["ANY /tasks", "GET /tasks"]);
        assert_eq!(found(&routes, Method::GET, "/tasks"), Some("GET /tasks"));
        assert_eq!(found(&routes, Method::DELETE, "/tasks"), Some("ANY /tasks"));
    }

    #[test]
    fn a_variable_takes_exactly_one_segment() {
        let routes = router(&["GET /tasks/{id}"]);
        let (_, variables) = routes.find(&Method::GET, "/tasks/a%2Fb").unwrap();
        assert_eq!(variables, [("id".to_owned(), "a/b".to_owned())]);
        assert_eq!(found(&routes, Method::GET, "/tasks/a/b"), None);
        assert_eq!(found(&routes, Method::GET, "/tasks/"), None);
        assert_eq!(found(&routes, Method::POST, "/tasks/a"), None);
    }

    #[test]
    fn malformed_keys_are_refused() {
        for key in ["", "GET", "GET tasks", "FETCH /tasks", "GET /{proxy+}/tail"] {
            assert_eq!(RouteKey::parse(key), None, "{key}");
        }
    }
}
