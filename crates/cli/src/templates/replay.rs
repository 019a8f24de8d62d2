//! `paceline templates replay`: what a candidate makes of the payloads of real messages, before it goes live.

use std::collections::HashMap;

use anyhow::Context as _;
use paceline_templates::{Template, read_folder};
use paceline_wire::v1::replay_result::Outcome;
use paceline_wire::v1::replay_service_client::ReplayServiceClient;
use paceline_wire::v1::{ReplayRequest, ReplayResult};

use crate::args::{ReplayOptions, Target};
use crate::client;
use crate::ended::Ended;

/// At least one message would fail.
const FAILS: u8 = 1;
/// No payload is kept that it could be tried with.
const UNTRIED: u8 = 2;

pub(super) async fn run(target: &Target, options: ReplayOptions) -> anyhow::Result<()> {
    let bundle = options.bundle.display();
    let files = read_folder(&options.bundle).with_context(|| format!("{bundle} can't be read"))?;
    let template = Template::from_files(&files).with_context(|| format!("{bundle} can't be used"))?;
    let request = ReplayRequest {
        tenant: target.tenant.clone(),
        template: options
            .template
            .unwrap_or_else(|| template.manifest().name.clone()),
        files: files
            .into_iter()
            .map(|(path, file)| (path, file.into()))
            .collect::<HashMap<_, _>>(),
        messages_max: options.messages,
    };
    let connection = client::connect_to(target, &options.asked.feedback, "--feedback")?;
    let answer = ReplayServiceClient::new(connection)
        .replay(client::within(request))
        .await
        .map_err(|status| client::explain(&status))?;
    let results = answer.into_inner().results;
    print!("{}", shown(&results));
    if results.iter().any(|result| result.outcome() == Outcome::Fails) {
        return Err(Ended(FAILS).into());
    }
    if results.is_empty() {
        eprintln!(
            "paceline: no payload of this template is kept, so nothing was tried: see `keep` in its template.toml"
        );
        return Err(Ended(UNTRIED).into());
    }
    Ok(())
}

/// A line for each message that is not the same, and the counts.
fn shown(results: &[ReplayResult]) -> String {
    let mut text = String::new();
    let mut counts = [0; 4];
    for result in results {
        let (at, word) = match result.outcome() {
            Outcome::Same => (0, "same"),
            Outcome::Differs => (1, "differs"),
            Outcome::Fails => (2, "fails"),
            Outcome::New | Outcome::Unspecified => (3, "renders"),
        };
        counts[at] += 1;
        if at > 0 {
            let accepted = client::show_time(result.accepted_at);
            let line = format!("{}  {accepted}  {word:7}  {}", result.message_id, result.detail);
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    let [same, differ, fail, new] = counts;
    text.push_str(&format!(
        "{} messages: {same} the same, {differ} differ, {fail} fail, {new} render without one to compare with\n",
        results.len()
    ));
    text
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1::ReplayResult;
    use paceline_wire::v1::replay_result::Outcome;

    use super::shown;

    #[test]
    fn what_is_the_same_is_only_counted() {
        let result = |id: &str, outcome: Outcome, detail: &str| ReplayResult {
            message_id: id.to_owned(),
            outcome: outcome.into(),
            detail: detail.to_owned(),
            accepted_at: None,
        };
        let text = shown(&[
            result("A", Outcome::Same, ""),
            result("B", Outcome::Differs, "subject (1 new lines)"),
            result("C", Outcome::Fails, "data.name is missing"),
            result("D", Outcome::New, ""),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "B  -  differs  subject (1 new lines)",
                "C  -  fails    data.name is missing",
                "D  -  renders",
                "4 messages: 1 the same, 1 differ, 1 fail, 1 render without one to compare with"
            ]
        );
    }
}
