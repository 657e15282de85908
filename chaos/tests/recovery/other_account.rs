//! Whose credentials put back: in another account a lever of the same name is another lever.

use chaos::journal::recovery;
use tokio::process::Command;

use crate::EXIT_PASS;
use crate::bench::Bench;

const EXIT_USAGE: i32 = 2;
const OTHER_ACCOUNT: &str = "999999999999";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_left_in_another_account_is_not_put_back_in_this_one() {
    let bench = Box::pin(Bench::up()).await;
    let (cloud, lever) = (bench.cloud(), bench.throttle());
    let prior = lever.read(cloud).await.unwrap();
    lever.engage(cloud, &prior).await.unwrap();
    let own = bench.stack().account_id.as_str();
    for (account_id, code, said) in [
        (OTHER_ACCOUNT, EXIT_USAGE, format!("the credentials are of {own}, the stack is in {OTHER_ACCOUNT}")),
        (own, EXIT_PASS, "1 put back, 0 not".to_owned()),
    ] {
        let folder = bench.folder().join(account_id);
        bench.left_open(&folder, account_id, &lever, &prior);
        let mut program = Command::new(env!("CARGO_BIN_EXE_chaos"));
        let output = program.arg("recover").arg(&folder).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(&said), "{told}");
        let is_put_back = account_id == own;
        assert_eq!(lever.is_engaged(cloud).await.unwrap(), !is_put_back, "{told}");
        assert_eq!(recovery(&folder).unwrap().open.is_empty(), is_put_back, "the journal says what is left");
    }
}
