//! Which function a URI names.

/// The function's ARN in `arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/{arn}/invocations`, or the
/// URI itself where it is an ARN of a function.
pub(super) fn lambda_function(uri: &str) -> Option<&str> {
    if let Some((_, rest)) = uri.split_once(":lambda:path/2015-03-31/functions/") {
        return rest.strip_suffix("/invocations").filter(|arn| !arn.is_empty());
    }
    let mut parts = uri.splitn(7, ':');
    (parts.next() == Some("arn") && parts.nth(1) == Some("lambda") && parts.nth(2) == Some("function"))
        .then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:submit";

    #[test]
    fn both_forms_of_a_lambda_uri_name_the_function() {
        let invoke_arn =
            format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}/invocations");
        assert_eq!(lambda_function(&invoke_arn), Some(ARN));
        assert_eq!(lambda_function(ARN), Some(ARN));
    }

    #[test]
    fn another_service_is_not_a_function() {
        assert_eq!(lambda_function("arn:aws:sqs:us-east-1:123456789012:queue"), None);
        assert_eq!(lambda_function("https://example.com"), None);
    }
}
