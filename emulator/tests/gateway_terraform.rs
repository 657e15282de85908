//! The real Terraform provider against API Gateway. Needs `terraform` and `TF_PLUGIN_DIR`, a provider mirror directory.

#![expect(clippy::unwrap_used, reason = "helpers of tests; the lint spares only the tests themselves")]

use std::path::Path;
use std::process::Command;

use emulator::server::{Emulator, Options};

/// What `terraform plan -detailed-exitcode` says when nothing would change.
const PLAN_EMPTY: i32 = 0;

fn terraform(directory: &Path, endpoint: &str, arguments: &[&str]) -> i32 {
    let output = Command::new("terraform")
        .current_dir(directory)
        .env("TF_VAR_endpoint", endpoint)
        .env("TF_IN_AUTOMATION", "1")
        .args(arguments)
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    println!("terraform {arguments:?}: {code}");
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    code
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs terraform and a provider mirror in TF_PLUGIN_DIR"]
async fn both_kinds_of_api_apply_plan_empty_and_destroy() {
    let mirror = std::env::var("TF_PLUGIN_DIR").expect("TF_PLUGIN_DIR names a provider mirror directory");
    let running = Emulator::start(Options::default()).await.unwrap();
    let endpoint = running.endpoint().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/terraform/gateway/main.tf");
    std::fs::copy(source, directory.path().join("main.tf")).unwrap();
    let steps = tokio::task::spawn_blocking(move || {
        let run = |arguments: &[&str]| terraform(directory.path(), &endpoint, arguments);
        [
            run(&["init", "-input=false", &format!("-plugin-dir={mirror}")]),
            run(&["apply", "-input=false", "-auto-approve"]),
            run(&["plan", "-input=false", "-detailed-exitcode"]),
            run(&["destroy", "-input=false", "-auto-approve"]),
        ]
    });
    assert_eq!(steps.await.unwrap(), [0, 0, PLAN_EMPTY, 0]);
    running.shutdown().await;
}
