//! A deploy that brings another version of a template, one process after another: each message is rendered wholly by the version that it
//! was accepted with, whichever renderer reads it, and arrives once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use futures_util::future::{join, join_all, join3};
use paceline_testkit::ServiceProcess;

use crate::ground::{Ground, bundle, client, enqueue};
use crate::stack::PATIENCE;

/// Of each part of the deploy, through each ingest.
const MESSAGES: usize = 100;
const NAME: &str = "welcome";

/// What was accepted, and where it goes.
struct Deploy {
    ground: Ground,
    /// By message id, its number and the versions that it may have been accepted with.
    accepted: BTreeMap<String, (usize, &'static [u32])>,
    next: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_of_its_version_where_the_newer_one_takes_the_older_one_s_place() -> anyhow::Result<()>
{
    deploy(&[2]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_of_its_version_where_both_stand_side_by_side() -> anyhow::Result<()> {
    deploy(&[1, 2]).await
}

/// From a folder with version 1 to one with these.
async fn deploy(versions: &[u32]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
    bundle(&old.join(NAME), NAME, 1)?;
    for version in versions {
        bundle(&new.join(format!("{NAME}@{version}")), NAME, *version)?;
    }
    let [old, new] = [old, new].map(|folder| format!("directory = {folder:?}"));
    let mut deploy = Deploy {
        ground: Ground::start().await?,
        accepted: BTreeMap::new(),
        next: 0,
    };
    let mut first = deploy.ground.ingest(&old).await?;
    let mut first_renderer = deploy.ground.renderer(&old).await?;
    let numbers = deploy.numbers();
    deploy.note(through(&first, numbers.clone()).await?, numbers, &[1]);
    // The old folder's renderer alone renders what both ingests accept.
    let second = deploy.ground.ingest(&new).await?;
    let (by_first, by_second) = (deploy.numbers(), deploy.numbers());
    let ids = join(
        through(&first, by_first.clone()),
        through(&second, by_second.clone()),
    )
    .await;
    deploy.note(ids.0?, by_first, &[1]);
    deploy.note(ids.1?, by_second, &[2]);
    deploy.ground.arrived(deploy.accepted.len()).await?;
    // It dies in the midst of what it reads next, and the new one's comes and has the rest.
    let (by_first, by_second) = (deploy.numbers(), deploy.numbers());
    let ids = join3(
        through(&first, by_first.clone()),
        through(&second, by_second.clone()),
        async { first_renderer.kill() },
    )
    .await;
    ids.2?;
    deploy.note(ids.0?, by_first, &[1]);
    deploy.note(ids.1?, by_second, &[2]);
    first_renderer.wait(PATIENCE).await?;
    let arrived = deploy.ground.arrived(0).await?.len();
    ensure!(
        arrived < deploy.accepted.len(),
        "nothing waits where the renderer died"
    );
    let _second_renderer = deploy.ground.renderer(&new).await?;
    // Callers that repeat: the same messages through both at one time.
    let numbers = deploy.numbers();
    let ids = join(
        through(&first, numbers.clone()),
        through(&second, numbers.clone()),
    )
    .await;
    let (ids, same) = (ids.0?, ids.1?);
    ensure!(ids == same, "a repeated message got another id");
    deploy.note(ids, numbers, &[1, 2]);
    deploy.until_gone(&mut first, &second).await?;
    let numbers = deploy.numbers();
    deploy.note(through(&second, numbers.clone()).await?, numbers, &[2]);
    deploy.arrives().await
}

impl Deploy {
    fn numbers(&mut self) -> Range<usize> {
        self.next += MESSAGES;
        self.next - MESSAGES..self.next
    }

    /// Callers go on until the first is gone: what it does not take, or takes without an answer, goes to the second.
    async fn until_gone(
        &mut self,
        first: &mut ServiceProcess,
        second: &ServiceProcess,
    ) -> anyhow::Result<()> {
        let clients = (client(first)?, client(second)?);
        let (is_gone, from) = (AtomicBool::new(false), self.next);
        let calls = async {
            let (mut ids, mut others) = (Vec::new(), 0_usize);
            loop {
                let is_last = is_gone.load(Ordering::SeqCst);
                let number = from + ids.len();
                let answer = match enqueue(clients.0.clone(), NAME, number).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        others += 1;
                        enqueue(clients.1.clone(), NAME, number).await?
                    }
                };
                ids.push(answer.message_id);
                if is_last && ids.len() >= MESSAGES {
                    return anyhow::Ok((ids, others));
                }
            }
        };
        let goes = async {
            first.term()?;
            let ended = first.wait(PATIENCE).await;
            is_gone.store(true, Ordering::SeqCst);
            ended
        };
        let (called, gone) = join(calls, goes).await;
        gone?;
        let (ids, others) = called?;
        ensure!((1..ids.len()).contains(&others), "{others} of {}", ids.len());
        self.next += ids.len();
        self.note(ids, from..self.next, &[1, 2]);
        Ok(())
    }

    fn note(&mut self, ids: Vec<String>, numbers: Range<usize>, versions: &'static [u32]) {
        let accepted = ids.into_iter().zip(numbers);
        self.accepted
            .extend(accepted.map(|(id, number)| (id, (number, versions))));
    }

    /// All of it, once each and of one version that it may be of.
    async fn arrives(&self) -> anyhow::Result<()> {
        let arrived = self.ground.arrived(self.accepted.len()).await?;
        let counts = (arrived.len(), self.accepted.len());
        ensure!(
            counts.0 == counts.1 && counts.1 == self.next,
            "{counts:?} of {}",
            self.next
        );
        let mut by_version = BTreeMap::<u32, usize>::new();
        for (id, mails) in &arrived {
            let Some((number, versions)) = self.accepted.get(id) else {
                anyhow::bail!("{id} was not accepted");
            };
            let [mail] = mails.as_slice() else {
                anyhow::bail!("{number} arrived {} times", mails.len());
            };
            ensure!(mail.number == *number, "{number}: {mail:?}");
            ensure!(mail.of_subject == mail.of_html, "{number} is mixed: {mail:?}");
            ensure!(
                versions.contains(&mail.of_subject),
                "{number}: {mail:?}, not {versions:?}"
            );
            *by_version.entry(mail.of_subject).or_default() += 1;
        }
        ensure!(
            by_version.values().all(|count| *count >= 2 * MESSAGES),
            "{by_version:?}"
        );
        Ok(())
    }
}

async fn through(
    service: &ServiceProcess,
    numbers: impl Iterator<Item = usize>,
) -> anyhow::Result<Vec<String>> {
    let client = client(service)?;
    let calls = numbers.map(|number| enqueue(client.clone(), NAME, number));
    let answers = join_all(calls).await.into_iter();
    answers
        .map(|answer| Ok(answer?.message_id))
        .collect::<anyhow::Result<Vec<_>>>()
}
