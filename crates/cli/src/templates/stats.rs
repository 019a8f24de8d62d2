//! `paceline templates stats`: what a renderer has of its templates.

use paceline_wire::v1::templates_service_client::TemplatesServiceClient;
use paceline_wire::v1::{TemplateStatsRequest, TemplateStatsResponse};

use crate::args::{AskedRenderer, Target};
use crate::client;

pub(super) async fn run(target: &Target, asked: &AskedRenderer) -> anyhow::Result<()> {
    let connection = client::connect_to(target, &asked.renderer, "--renderer")?;
    let answer = TemplatesServiceClient::new(connection)
        .template_stats(client::within(TemplateStatsRequest {}))
        .await
        .map_err(|status| client::explain(&status))?;
    print!("{}", table(&answer.into_inner()));
    Ok(())
}

fn table(stats: &TemplateStatsResponse) -> String {
    let width = stats.templates.iter().map(|template| template.name.len());
    let width = width.max().unwrap_or_default().max("template".len());
    let mut text = format!(
        "{:width$}  {:>10}  {:>10}  {:>10}  versions\n",
        "template", "rendered", "stood in", "failed"
    );
    for template in &stats.templates {
        text.push_str(&format!(
            "{:width$}  {:>10}  {:>10}  {:>10}  {}\n",
            template.name,
            template.rendered,
            template.as_fallback,
            template.failed,
            template.versions.join(", "),
        ));
    }
    let since = client::show_time(stats.since);
    text.push_str(&format!(
        "since {since}; cached: {} templates of {} bytes of source, at most {}\n",
        stats.cached, stats.cached_source_bytes, stats.cached_source_bytes_max
    ));
    text
}

#[cfg(test)]
mod tests {
    use paceline_wire::v1::{TemplateStats, TemplateStatsResponse};

    use super::table;

    #[test]
    fn each_template_has_a_line() {
        let template = |name: &str, failed| TemplateStats {
            name: name.to_owned(),
            versions: vec!["1".to_owned(), "2".to_owned()],
            rendered: 12,
            as_fallback: 3,
            failed,
        };
        let text = table(&TemplateStatsResponse {
            templates: vec![template("welcome", 0), template("a-long-name-of-a-template", 7)],
            cached: 2,
            cached_source_bytes: 4_096,
            cached_source_bytes_max: 8_192,
            since: None,
        });
        let lines: Vec<Vec<_>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[1], ["welcome", "12", "3", "0", "1,", "2"]);
        assert_eq!(lines[2][..4], ["a-long-name-of-a-template", "12", "3", "7"]);
        assert!(
            text.ends_with("cached: 2 templates of 4096 bytes of source, at most 8192\n"),
            "{text}"
        );
    }
}
