//! `paceline audit ids`: what makes messages' ids, and what seems to be forgotten.

use paceline_wire::v1::audit_service_client::AuditServiceClient;
use paceline_wire::v1::ids_service_client::IdsServiceClient;
use paceline_wire::v1::{AuditIdsRequest, AuditIdsResponse, IdField, ListIdFieldsRequest, TemplateIdFields};

use crate::args::{AuditCommand, IdsOptions, Target};
use crate::client;

pub(crate) async fn run(target: &Target, command: AuditCommand) -> anyhow::Result<()> {
    let AuditCommand::Ids(options) = command;
    let template = options.template.clone().unwrap_or_default();
    let request = ListIdFieldsRequest { template };
    let answer = IdsServiceClient::new(client::connect(target)?)
        .list_id_fields(client::within(request))
        .await
        .map_err(|status| client::explain(&status))?;
    answer.into_inner().templates.iter().for_each(print_fields);
    if options.fields_only {
        return Ok(());
    }
    print_pairs(&pairs(target, options).await?);
    Ok(())
}

async fn pairs(target: &Target, options: IdsOptions) -> anyhow::Result<AuditIdsResponse> {
    let request = AuditIdsRequest {
        tenant: target.tenant.clone(),
        template: options.template.unwrap_or_default(),
        since: options.since.map(client::to_timestamp),
        until: options.until.map(client::to_timestamp),
        messages_max: options.messages_max,
    };
    let connection = client::connect_to(target, &options.asked.feedback, "--feedback")?;
    let answer = AuditServiceClient::new(connection)
        .audit_ids(client::within(request))
        .await
        .map_err(|status| client::explain(&status))?;
    Ok(answer.into_inner())
}

fn print_fields(template: &TemplateIdFields) {
    println!("{} {}", template.template, template.version);
    let width = template
        .fields
        .iter()
        .map(|field| field.name.len())
        .max()
        .unwrap_or(0);
    for IdField {
        name,
        counts,
        why,
        printed,
    } in &template.fields
    {
        let part = if *counts { "in the id" } else { "volatile " };
        let printed = if *printed { "; printed" } else { "" };
        println!("  {name:width$}  {part}  {why}{printed}");
    }
}

fn print_pairs(found: &AuditIdsResponse) {
    println!();
    for finding in &found.findings {
        println!(
            "{}: {} {} in {} alone, such as {} and {}",
            finding.template,
            finding.pairs,
            if finding.pairs == 1 {
                "pair differs"
            } else {
                "pairs differ"
            },
            finding.fields.join(" and "),
            finding.earlier_message_id,
            finding.later_message_id,
        );
    }
    for template in &found.templates {
        println!(
            "{}: {} of {} messages differ in one or two fields from one of the same user within the hour before",
            template.template, template.near, template.messages
        );
    }
    if found.templates.is_empty() {
        println!("no messages to compare");
    }
    if !found.complete {
        println!("there were more; these were the newest (--messages-max)");
    }
}
