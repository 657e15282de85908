//! Services on which we add no behaviour, served by engines of others through one adapter.

mod access_keys;
mod adapter;
mod bucket_policies;
mod iam_answers;
mod identities;
mod object_keys;
mod object_tags;
mod object_versions;
mod public_parameters;
mod storage_classes;

use std::sync::Arc;

use winterbaume_iam::IamService;
use winterbaume_s3::S3Service;
use winterbaume_ssm::SsmService;
use winterbaume_sts::StsService;

use self::access_keys::AccessKeys;
use self::adapter::{Engine, Scope};
use self::bucket_policies::BucketPolicies;
use self::iam_answers::IamAnswers;
use self::identities::Identities;
use self::object_tags::ObjectTags;
use self::object_versions::ObjectVersions;
use self::public_parameters::PublicParameters;
use self::storage_classes::StorageClasses;
use crate::iam::{IamApi, StsApi};
use crate::settings::Settings;
use crate::wire::Service;

/// The engines know one account per process: the first emulator of a process decides.
pub fn use_account(settings: &Settings) {
    winterbaume_core::set_default_account_id(&*settings.account_id);
}

/// IAM, whose roles and policies decide what functions may do.
#[must_use]
pub fn iam(settings: &Settings) -> Arc<dyn Service> {
    let engine = Arc::new(IamService::new());
    let stored = Arc::clone(&engine);
    let front = Engine::new("iam", Scope::Global, stored);
    let front = Identities::new(front, Arc::clone(&engine), &settings.account_id);
    let front = IamAnswers::new(AccessKeys::new(front, Arc::clone(&engine), settings));
    Arc::new(IamApi::new(settings.iam.clone(), engine, Arc::new(front)))
}

/// STS, which tells who one is and gives out sessions of IAM's roles.
#[must_use]
pub fn sts(settings: &Settings) -> Arc<dyn Service> {
    let engine = Arc::new(Engine::new("sts", Scope::Global, Arc::new(StsService::new())));
    Arc::new(StsApi::new(settings, engine))
}

/// S3, whose buckets' policies are judged by.
#[must_use]
pub fn s3(settings: &Settings) -> Arc<dyn Service> {
    let engine = ObjectTags::new(Engine::new("s3", Scope::Regional, Arc::new(S3Service::new())));
    let s3 = BucketPolicies::new(StorageClasses::new(engine));
    settings.iam.set_policy_source("s3", s3.known());
    Arc::new(ObjectVersions::new(s3, settings.random.clone()))
}

/// SSM with the public parameters that AWS keeps in every account.
#[must_use]
pub fn ssm(settings: &Settings) -> Arc<dyn Service> {
    let engine = Engine::new("ssm", Scope::Regional, Arc::new(SsmService::new()));
    Arc::new(PublicParameters::new(settings, engine))
}
