//! The journal of calls without those that are only about what is gone, so that it is bounded by what there is.
//!
//! A thing lives from the call that made it to the call that ended it. Its calls can go once it has ended, unless a call
//! that stays names it and was made while it lived: that one could not be made again without it. A call that is about
//! anything ([`touch`](super::touch)) always stays. When in doubt a call stays; it costs bytes and changes nothing.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use http::Method;
use percent_encoding::percent_decode;
use serde_json::Value;

use super::replay::decode_call;
use super::touch::{Effect, Thing, touches};
use super::{Journal, StoreError};
use crate::cloudwatch;
use crate::engines::is_made_with_locks;
use crate::wire::AwsRequest;

/// A smaller journal is made anew only at the start: reading it takes a moment.
const COMPACT_FROM_BYTES: u64 = 64 * 1024 * 1024;
/// How much larger than after the last time it may become.
const GROWTH_MAX: u64 = 2;
/// Longer runs of letters are no names: code in base64 would be millions of words.
const WORD_BYTES_MAX: usize = 256;

#[must_use]
pub fn is_due(file_bytes: u64, compacted_bytes: u64) -> bool {
    file_bytes > COMPACT_FROM_BYTES.max(compacted_bytes.saturating_mul(GROWTH_MAX))
}

/// Returns how many calls were dropped. Only sound while no call is made.
///
/// # Errors
/// A journal that cannot be read, or written anew. What it held is safe all the same.
pub fn compact(journal: &Journal) -> Result<usize, StoreError> {
    let mut survey = Survey::default();
    journal.read(|record| {
        let (request, made) = decode_call(record)?;
        survey.add(&request, made.as_deref());
        Ok(())
    })?;
    let stays = survey.stays();
    let dropped = stays.iter().filter(|stays| !**stays).count();
    if dropped > 0 {
        journal.rewrite(|place| stays.get(place).copied().unwrap_or(true), |_| Ok(()))?;
    }
    Ok(dropped)
}

/// One life of a thing.
#[derive(Debug)]
struct Life {
    /// Hashes of the words of its name.
    name: Vec<u64>,
    begins: usize,
    /// None: it is still there.
    ends: Option<usize>,
    /// The life whose first call ended this one: made again, this one needs that end.
    replaced_by: Option<usize>,
}

#[derive(Debug)]
struct Call {
    /// Of the things that it is about; None: it may be about anything.
    lives: Option<Vec<usize>>,
    /// Hashes of all words in it, sorted.
    words: Vec<u64>,
    /// A later call does the same again, and nothing between them depends on this one.
    superseded: bool,
}

/// All calls, in order.
#[derive(Debug, Default)]
struct Survey {
    calls: Vec<Call>,
    lives: Vec<Life>,
    /// The life that a thing has now.
    now: HashMap<Thing, usize>,
    /// The last UpdateFunctionCode of a function, until something depends on it.
    code: HashMap<Thing, usize>,
    /// Buckets in which what was put over or deleted is still there, as a version.
    versioned: HashSet<String>,
}

impl Survey {
    fn add(&mut self, request: &AwsRequest, made: Option<&str>) {
        let index = self.calls.len();
        let keeps_versions = self.keeps_versions(request);
        let touched = touches(request, made).filter(|_| !keeps_versions);
        if let Some([(thing, _)]) = touched.as_deref() {
            self.note_code(index, request, thing);
        }
        let lives = touched.and_then(|touched| {
            touched.into_iter().map(|(thing, effect)| self.touch(index, thing, effect)).collect()
        });
        self.calls.push(Call { lives, words: words_of(request), superseded: false });
    }

    /// Whether the call is about a bucket that ever kept versions. Every such call stays.
    fn keeps_versions(&mut self, request: &AwsRequest) -> bool {
        if request.service != "s3" {
            return false;
        }
        let path = percent_decode(request.path.as_bytes()).decode_utf8_lossy();
        let bucket = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let sets = |word: &str| word.split('=').next() == Some("versioning");
        // A bucket with locks keeps versions from the beginning.
        let begins = request.query.split('&').any(sets) || is_made_with_locks(request);
        if request.method == Method::PUT && begins {
            self.versioned.insert(bucket.to_owned());
        }
        self.versioned.contains(bucket)
    }

    /// The life that the call belongs to; None when it is about something whose beginning is not known.
    fn touch(&mut self, index: usize, thing: Thing, effect: Effect) -> Option<usize> {
        let known = self.now.get(&thing).copied();
        match (effect, known) {
            (Effect::Create, Some(life)) | (Effect::Change, Some(life)) => Some(life),
            (Effect::Create, None) => Some(self.begin(index, thing)),
            (Effect::Change | Effect::Delete, None) => None,
            (Effect::Delete, Some(life)) => {
                self.now.remove(&thing);
                self.lives[life].ends = Some(index);
                Some(life)
            }
            (Effect::Replace, known) => {
                let next = self.begin(index, thing);
                if let Some(life) = known {
                    (self.lives[life].ends, self.lives[life].replaced_by) = (Some(index), Some(next));
                }
                Some(next)
            }
        }
    }

    fn begin(&mut self, index: usize, thing: Thing) -> usize {
        self.lives.push(Life {
            name: words(thing.name.as_bytes()),
            begins: index,
            ends: None,
            replaced_by: None,
        });
        self.now.insert(thing, self.lives.len() - 1);
        self.lives.len() - 1
    }

    /// Code that was replaced before anything was published or asked about by its revision need not be set.
    fn note_code(&mut self, index: usize, request: &AwsRequest, thing: &Thing) {
        if thing.kind != "function" {
            return;
        }
        let has = |text: &[u8]| request.body.windows(text.len()).any(|window| window == text);
        let is_code = request.method == Method::PUT && request.path.ends_with("/code");
        let depends = request.path.ends_with("/versions") || has(b"\"RevisionId\"") || has(b"\"Publish\"");
        let before = self.code.remove(thing);
        if depends || request.method == Method::DELETE {
            return;
        }
        if !is_code {
            self.code.extend(before.map(|before| (thing.clone(), before)));
            return;
        }
        if let Some(before) = before {
            self.calls[before].superseded = true;
        }
        // Other settings that come with code are not replaced by the next code.
        if !has(b"\"Architectures\"") {
            self.code.insert(thing.clone(), index);
        }
    }

    /// Which calls must be made again.
    fn stays(&self) -> Vec<bool> {
        let mut gone: Vec<bool> = self.lives.iter().map(|life| life.ends.is_some()).collect();
        let mut stays = vec![false; self.calls.len()];
        loop {
            let more: Vec<usize> = (0..self.calls.len())
                .filter(|index| !stays[*index] && self.calls[*index].stays(&gone))
                .collect();
            if more.is_empty() {
                return stays;
            }
            for index in more {
                stays[index] = true;
                for (life, gone) in self.lives.iter().zip(&mut gone).filter(|(_, gone)| **gone) {
                    *gone = !life.is_needed_by(index, &self.calls[index]);
                }
            }
            // A later life has a larger number.
            for life in 0..self.lives.len() {
                if let Some(next) = self.lives[life].replaced_by.filter(|_| !gone[life]) {
                    gone[next] = false;
                }
            }
        }
    }
}

impl Call {
    fn stays(&self, gone: &[bool]) -> bool {
        let all_gone = self.lives.as_ref().is_some_and(|lives| lives.iter().all(|life| gone[*life]));
        !all_gone && !self.superseded
    }

    fn names(&self, name: &[u64]) -> bool {
        name.iter().all(|word| self.words.binary_search(word).is_ok())
    }
}

impl Life {
    /// Whether the call may depend on it: it was there, and the call names it.
    fn is_needed_by(&self, index: usize, call: &Call) -> bool {
        self.begins < index && self.ends.is_some_and(|ends| index < ends) && call.names(&self.name)
    }
}

/// The content of an object refers to nothing. What CloudWatch is told may be binary, or packed.
fn words_of(request: &AwsRequest) -> Vec<u64> {
    let mut all = words(request.path.as_bytes());
    all.extend(words(request.query.as_bytes()));
    for value in request.headers.values() {
        all.extend(words(value.as_bytes()));
    }
    let is_content = request.service == "s3" && request.method == Method::PUT && request.query.is_empty();
    if request.service == "monitoring" {
        add_words_in(&cloudwatch::input(request), &mut all);
    } else if !is_content {
        all.extend(words(&request.body));
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn add_words_in(value: &Value, all: &mut Vec<u64>) {
    match value {
        Value::String(text) => all.extend(words(text.as_bytes())),
        Value::Array(values) => values.iter().for_each(|value| add_words_in(value, all)),
        Value::Object(members) => members.values().for_each(|value| add_words_in(value, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Hashes of the runs of letters and digits. A name is found wherever it stands: in a path, an ARN, a URL or a form.
fn words(text: &[u8]) -> Vec<u64> {
    let decoded: Vec<u8> = percent_decode(text).collect();
    // Base64 is one long run.
    let runs = decoded.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')));
    let runs = runs.filter(|run| run.len() <= WORD_BYTES_MAX);
    let words = runs.flat_map(|run| run.split(|byte| !byte.is_ascii_alphanumeric()));
    words.filter(|word| !word.is_empty()).map(hash).collect()
}

fn hash(word: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use serde_json::json;

    use super::*;

    fn sqs(operation: &str, body: &str) -> AwsRequest {
        let mut request = AwsRequest::unsigned("sqs", Method::POST, "/", body);
        request.headers.insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
        request
    }

    fn iam(form: &str) -> AwsRequest {
        AwsRequest::unsigned("iam", Method::POST, "/", form)
    }

    fn function(method: Method, path: &str, body: &str) -> AwsRequest {
        AwsRequest::unsigned("lambda", method, &format!("/2015-03-31/functions{path}"), body)
    }

    /// The places of the calls that stay.
    fn staying(calls: &[(AwsRequest, Option<&str>)]) -> Vec<usize> {
        let mut survey = Survey::default();
        calls.iter().for_each(|(request, made)| survey.add(request, *made));
        let stays = survey.stays();
        (0..calls.len()).filter(|index| stays[*index]).collect()
    }

    fn plain(calls: Vec<AwsRequest>) -> Vec<usize> {
        staying(&calls.into_iter().map(|request| (request, None)).collect::<Vec<_>>())
    }

    #[test]
    fn the_calls_of_what_is_gone_go_and_those_of_what_is_there_stay() {
        let create = |name: &str| sqs("CreateQueue", &format!(r#"{{"QueueName":"{name}"}}"#));
        let url = |name: &str| format!(r#"{{"QueueUrl":"http://127.0.0.1:1/123456789012/{name}"}}"#);
        let calls = vec![
            create("a"),
            create("b"),
            sqs("TagQueue", &url("a")),
            sqs("DeleteQueue", &url("a")),
            sqs("TagQueue", &url("b")),
            create("a"),
        ];
        assert_eq!(plain(calls), [1, 4, 5]);
    }

    #[test]
    fn what_a_staying_call_named_while_it_was_there_stays_too() {
        let delete = |name: &str| sqs("DeleteQueue", &format!(r#"{{"QueueUrl":"http://h/1/{name}"}}"#));
        let dead = sqs("CreateQueue", r#"{"QueueName":"dead-letters"}"#);
        let names = r#"{"QueueName":"a","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:dead-letters\"}"}}"#;
        let needs = sqs("CreateQueue", names);
        // A queue that is there was made while its dead-letter queue was.
        assert_eq!(plain(vec![dead.clone(), needs.clone(), delete("dead-letters")]), [0, 1, 2]);
        // It could name it before and after as well: then it does not need it.
        assert_eq!(plain(vec![needs.clone(), dead.clone(), delete("dead-letters")]), [0]);
        // Both are gone.
        assert_eq!(
            plain(vec![dead.clone(), needs.clone(), delete("a"), delete("dead-letters")]),
            [] as [usize; 0]
        );
        // And what the kept one needs, in turn.
        let role = iam("Action=CreateRole&RoleName=r");
        let attach = iam("Action=AttachRolePolicy&RoleName=r&PolicyArn=arn%3Aaws%3Aiam%3A%3A1%3Apolicy%2Fp");
        let policy = iam("Action=CreatePolicy&PolicyName=p&PolicyDocument=about%20dead-letters");
        let calls = vec![
            dead,
            policy,
            role,
            attach,
            iam("Action=DetachRolePolicy&RoleName=r&PolicyArn=arn%3Aaws%3Aiam%3A%3A1%3Apolicy%2Fp"),
            iam("Action=DeletePolicy&PolicyArn=arn%3Aaws%3Aiam%3A%3A1%3Apolicy%2Fp"),
            delete("dead-letters"),
        ];
        assert_eq!(plain(calls), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn things_whose_id_is_in_the_answer_are_known_by_it() {
        let api = AwsRequest::unsigned("apigateway", Method::POST, "/v2/apis", r#"{"name":"a"}"#);
        let route = AwsRequest::unsigned("apigateway", Method::POST, "/v2/apis/abc/routes", "{}");
        let delete = AwsRequest::unsigned("apigateway", Method::DELETE, "/v2/apis/abc", "");
        let all = |id| staying(&[(api.clone(), id), (route.clone(), None), (delete.clone(), None)]);
        assert_eq!(all(Some("abc")), [] as [usize; 0]);
        assert_eq!(all(None), [0, 1, 2], "a call of before ids were kept stays");
    }

    #[test]
    fn an_object_that_was_put_again_goes_unless_a_function_was_made_of_it() {
        let put = || AwsRequest::unsigned("s3", Method::PUT, "/bucket/code.zip", "content about f");
        let bucket = AwsRequest::unsigned("s3", Method::PUT, "/bucket", "");
        assert_eq!(plain(vec![bucket.clone(), put(), put()]), [0, 2]);
        let code = r#"{"FunctionName":"f","Code":{"S3Bucket":"bucket","S3Key":"code.zip"}}"#;
        let create = function(Method::POST, "", code);
        assert_eq!(plain(vec![bucket.clone(), put(), create.clone(), put()]), [0, 1, 2, 3]);
        // Made again without its end, it would be there again.
        let delete = AwsRequest::unsigned("s3", Method::DELETE, "/bucket/code.zip", "");
        assert_eq!(plain(vec![bucket, put(), create, put(), delete]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn in_a_bucket_that_keeps_versions_an_object_stays_though_it_was_put_again_or_deleted() {
        let put = || AwsRequest::unsigned("s3", Method::PUT, "/bucket/key", "content");
        let delete = || AwsRequest::unsigned("s3", Method::DELETE, "/bucket/key", "");
        let of_bucket = |method| AwsRequest::unsigned("s3", method, "/bucket", "");
        let versioning = AwsRequest { query: "versioning=".to_owned(), ..of_bucket(Method::PUT) };
        let version = AwsRequest { query: "versionId=v".to_owned(), ..delete() };
        let calls = vec![
            of_bucket(Method::PUT),
            put(),
            put(),
            versioning,
            put(),
            put(),
            delete(),
            version,
            of_bucket(Method::DELETE),
        ];
        assert_eq!(plain(calls), [0, 2, 3, 4, 5, 6, 7, 8]);
        let other = AwsRequest::unsigned("s3", Method::PUT, "/other", "");
        let gone = AwsRequest::unsigned("s3", Method::DELETE, "/other", "");
        assert_eq!(plain(vec![other, gone]), [] as [usize; 0]);
    }

    #[test]
    fn a_bucket_with_locks_keeps_versions_from_the_beginning() {
        let put = || AwsRequest::unsigned("s3", Method::PUT, "/bucket/key", "content");
        for (locked, stay) in [
            (None, &[0, 2][..]),
            (Some("false"), &[0, 2][..]),
            (Some("true"), &[0, 1, 2][..]),
            (Some("True"), &[0, 1, 2][..]),
        ] {
            let mut bucket = AwsRequest::unsigned("s3", Method::PUT, "/bucket", "");
            if let Some(locked) = locked {
                bucket.headers.insert("x-amz-bucket-object-lock-enabled", locked.parse().unwrap());
            }
            assert_eq!(plain(vec![bucket, put(), put()]), stay, "{locked:?}");
        }
    }

    #[test]
    fn the_access_list_of_an_object_goes_with_it() {
        let of = |method, path: &str, query: &str| {
            let request = AwsRequest::unsigned("s3", method, path, "");
            AwsRequest { query: query.to_owned(), ..request }
        };
        let bucket = || of(Method::PUT, "/bucket", "");
        let put = || of(Method::PUT, "/bucket/key", "");
        let list = || of(Method::PUT, "/bucket/key", "acl");
        let delete = || of(Method::DELETE, "/bucket/key", "");
        assert_eq!(plain(vec![bucket(), put(), list(), put(), list()]), [0, 3, 4]);
        assert_eq!(plain(vec![bucket(), put(), list(), delete()]), [0]);
        let versioning = of(Method::PUT, "/bucket", "versioning");
        assert_eq!(plain(vec![bucket(), versioning, put(), list(), put()]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_deleted_in_one_region_stays_in_another() {
        let parameter = |operation: &str, region: &str| {
            let mut request = AwsRequest::unsigned("ssm", Method::POST, "/", r#"{"Name":"/a"}"#);
            request.headers.insert("x-amz-target", format!("AmazonSSM.{operation}").parse().unwrap());
            AwsRequest { region: region.to_owned(), ..request }
        };
        let of_s3 = |method: Method, path: &str, region: &str| AwsRequest {
            region: region.to_owned(),
            ..AwsRequest::unsigned("s3", method, path, "")
        };
        let (here, there) = ("us-east-1", "eu-west-1");
        let calls = vec![
            parameter("PutParameter", here),
            parameter("PutParameter", there),
            parameter("DeleteParameter", there),
        ];
        assert_eq!(plain(calls), [0]);
        let calls = vec![
            of_s3(Method::PUT, "/bucket", here),
            of_s3(Method::PUT, "/bucket/key", here),
            of_s3(Method::PUT, "/bucket", there),
            of_s3(Method::PUT, "/bucket/key", there),
            of_s3(Method::DELETE, "/bucket/key", there),
            of_s3(Method::DELETE, "/bucket", there),
        ];
        assert_eq!(plain(calls), [0, 1]);
    }

    #[test]
    fn code_that_was_replaced_goes_unless_something_was_published_of_it() {
        let create = function(Method::POST, "", r#"{"FunctionName":"f"}"#);
        let code = || function(Method::PUT, "/f/code", r#"{"ZipFile":"AAAA"}"#);
        let publish = function(Method::POST, "/f/versions", "{}");
        assert_eq!(plain(vec![create.clone(), code(), code(), code()]), [0, 3]);
        assert_eq!(plain(vec![create.clone(), code(), publish, code(), code()]), [0, 1, 2, 4]);
        let on_arm = function(Method::PUT, "/f/code", r#"{"ZipFile":"AAAA","Architectures":["arm64"]}"#);
        assert_eq!(plain(vec![create.clone(), code(), on_arm, code(), code()]), [0, 2, 4]);
        let revision = function(Method::POST, "/f/policy", r#"{"RevisionId":"r"}"#);
        assert_eq!(plain(vec![create, code(), revision, code()]), [0, 1, 2, 3]);
    }

    #[test]
    fn the_deletion_of_a_version_is_not_that_of_its_function() {
        let create = || function(Method::POST, "", r#"{"FunctionName":"f"}"#);
        let publish = || function(Method::POST, "/f/versions", "{}");
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
        let ending = |name: &str, query: &str| {
            let delete = function(Method::DELETE, &format!("/{name}"), "");
            plain(vec![create(), publish(), AwsRequest { query: query.to_owned(), ..delete }])
        };
        let encoded = arn.replace(':', "%3A");
        for name in ["f", "123456789012:function:f", arn, encoded.as_str()] {
            for qualified in [format!("{name}:1"), format!("{name}%3A1")] {
                assert_eq!(ending(&qualified, ""), [0, 1, 2], "{qualified}");
            }
            for qualifier in ["Qualifier=1", "Qualifie%72=1"] {
                assert_eq!(ending(name, qualifier), [0, 1, 2], "{name}?{qualifier}");
            }
            assert_eq!(ending(name, ""), [] as [usize; 0], "{name}");
        }
    }

    #[test]
    fn who_was_renamed_stays_though_another_of_the_old_name_is_gone() {
        for (create, update, put) in [
            ("CreateUser&UserName", "UpdateUser&NewUserName=b&UserName", "PutUserPolicy&UserName"),
            ("CreateGroup&GroupName", "UpdateGroup&NewGroupName=b&GroupName", "PutGroupPolicy&GroupName"),
        ] {
            let call = |what: &str, name: &str| iam(&format!("Action={what}={name}"));
            let delete = create.replace("Create", "Delete");
            let calls = vec![
                call(create, "a"),
                call(update, "a"),
                call(create, "a"),
                call(&delete, "a"),
                call(put, "b"),
            ];
            assert_eq!(plain(calls), [0, 1, 2, 3, 4], "{create}");
            // Whom the name stood for before is not the one who has it now.
            let calls = vec![call(create, "b"), call(&delete, "b"), call(create, "a"), call(update, "a")];
            assert_eq!(plain(calls), [2, 3], "{create}");
        }
    }

    #[test]
    fn alarms_and_dashboards_are_known_in_every_protocol() {
        let call = |operation: &str, input: Value| cloudwatch::cbor_call(operation, &input);
        let put = |name: &str| call("PutMetricAlarm", json!({ "AlarmName": name }));
        let delete = |name: &str| call("DeleteAlarms", json!({ "AlarmNames": [name] }));
        assert_eq!(plain(vec![put("cpu"), put("memory"), delete("cpu")]), [1]);
        let dashboard = call("PutDashboard", json!({"DashboardName": "d", "DashboardBody": "{}"}));
        let gone = call("DeleteDashboards", json!({"DashboardNames": ["d"]}));
        assert_eq!(plain(vec![dashboard, gone]), [] as [usize; 0]);
        let form = "Action=DeleteAlarms&AlarmNames.member.1=cpu";
        let by_form = AwsRequest::unsigned("monitoring", Method::POST, "/", form);
        assert_eq!(plain(vec![zipped(put("cpu")), by_form]), [] as [usize; 0]);
        // What a composite alarm once named must be there when it is made again.
        let composite = |rule: &str| call("PutCompositeAlarm", json!({"AlarmName": "c", "AlarmRule": rule}));
        for first in [composite("ALARM(\"cpu\")"), zipped(composite("ALARM(cpu)"))] {
            let calls = vec![put("cpu"), first, composite("FALSE"), delete("cpu")];
            assert_eq!(plain(calls), [0, 1, 2, 3]);
        }
    }

    #[test]
    fn schedules_of_any_group_go_with_their_deletion() {
        let create = |group: &str| {
            let body = json!({ "GroupName": group }).to_string();
            AwsRequest::unsigned("scheduler", Method::POST, "/schedules/s", &body)
        };
        let delete = |query: &str| {
            let delete = AwsRequest::unsigned("scheduler", Method::DELETE, "/schedules/s", "");
            AwsRequest { query: query.to_owned(), ..delete }
        };
        let group = || AwsRequest::unsigned("scheduler", Method::POST, "/schedule-groups/g-1", "{}");
        let calls = vec![group(), create("g-1"), create("default"), delete("groupName=g%2D1")];
        assert_eq!(plain(calls), [0, 2]);
        assert_eq!(plain(vec![create("default"), delete("")]), [] as [usize; 0]);
        // A group that takes its schedules along ends none of them here.
        let gone = AwsRequest { method: Method::DELETE, ..group() };
        let calls = vec![group(), create("g-1"), gone, group(), create("g-1"), delete("groupName=g-1")];
        assert_eq!(plain(calls), [0, 2, 3]);
    }

    fn zipped(mut call: AwsRequest) -> AwsRequest {
        let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        body.write_all(&call.body).unwrap();
        call.body = body.finish().unwrap().into();
        call.headers.insert("content-encoding", "gzip".parse().unwrap());
        call
    }

    #[test]
    fn a_call_that_is_not_known_stays_and_keeps_what_it_names() {
        let create = sqs("CreateQueue", r#"{"QueueName":"q"}"#);
        let strange = AwsRequest::unsigned("ssm", Method::POST, "/", r#"{"Names":["q"]}"#);
        let delete = sqs("DeleteQueue", r#"{"QueueUrl":"http://h/1/q"}"#);
        assert_eq!(plain(vec![create.clone(), strange, delete.clone()]), [0, 1, 2]);
        assert_eq!(plain(vec![delete]), [0], "of what was there before the first call nothing is known");
    }

    #[test]
    fn code_in_base64_is_no_words() {
        let code = "a/b+".repeat(1_000);
        let body = format!(r#"{{"ZipFile":"{code}","FunctionName":"f"}}"#);
        assert_eq!(words(body.as_bytes()).len(), 3);
    }

    #[test]
    fn a_journal_is_due_once_it_is_large_and_has_doubled() {
        assert!(!is_due(COMPACT_FROM_BYTES, 0));
        assert!(is_due(COMPACT_FROM_BYTES + 1, 0));
        assert!(!is_due(COMPACT_FROM_BYTES * 2, COMPACT_FROM_BYTES));
        assert!(is_due(COMPACT_FROM_BYTES * 2 + 1, COMPACT_FROM_BYTES));
    }
}
