//! The contracts of each release mean the same now; and the comparison finds what would not.

use crate::written::{descriptors, fixtures};
use anyhow::{Context as _, ensure};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

#[test]
fn nothing_that_was_said_has_another_meaning() -> anyhow::Result<()> {
    let now = descriptors::now()?;
    let all = fixtures::all(descriptors::NAME)?;
    ensure!(!all.is_empty(), "nothing is frozen");
    for frozen in all {
        let old = FileDescriptorSet::decode(&frozen.bytes[..])?;
        let broken = descriptors::broken(&old, &now);
        ensure!(broken.is_empty(), "{}: {broken:#?}", frozen.path.display());
    }
    Ok(())
}

/// The message of this name.
fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    let mut all = set.file.iter_mut().flat_map(|file| &mut file.message_type);
    all.find(|message| message.name() == name).expect("there is one")
}

type Change = fn(&mut FileDescriptorSet);

#[test]
fn each_change_that_would_break_somebody_is_found() -> anyhow::Result<()> {
    let changes: [(&str, Change); 10] = [
        ("is gone, and not reserved", |set| {
            message(set, "StoredRequest").field.remove(0);
        }),
        ("of another type", |set| {
            message(set, "StoredRequest").field[0].set_type(Type::Bytes)
        }),
        ("repeated in one", |set| {
            message(set, "StoredRequest").field[0].set_label(Label::Repeated)
        }),
        ("another name in JSON", |set| {
            message(set, "StoredRequest").field[0].json_name = Some("renamed".to_owned());
        }),
        // A number that goes to another field is a field of another name.
        ("another name in JSON", |set| {
            let fields = &mut message(set, "StoredRequest").field;
            let (first, second) = (fields[0].number, fields[1].number);
            (fields[0].number, fields[1].number) = (second, first);
        }),
        ("message paceline.v1.StoredStop is gone", |set| {
            for file in &mut set.file {
                file.message_type.retain(|message| message.name() != "StoredStop");
            }
        }),
        ("has another name", |set| {
            let mut enums = set.file.iter_mut().flat_map(|file| &mut file.enum_type);
            enums.next().expect("an enum").value[1].name = Some("RENAMED".to_owned());
        }),
        ("is gone", |set| {
            let mut enums = set.file.iter_mut().flat_map(|file| &mut file.enum_type);
            enums.next().expect("an enum").value.remove(1);
        }),
        ("is gone", |set| {
            let mut services = set.file.iter_mut().flat_map(|file| &mut file.service);
            services.next().expect("a service").method.remove(0);
        }),
        ("takes or answers something else", |set| {
            let mut services = set.file.iter_mut().flat_map(|file| &mut file.service);
            services.next().expect("a service").method[0].server_streaming = Some(true);
        }),
    ];
    let old = descriptors::now()?;
    ensure!(
        descriptors::broken(&old, &old).is_empty(),
        "the same is not the same"
    );
    for (expected, change) in changes {
        let mut new = old.clone();
        change(&mut new);
        let broken = descriptors::broken(&old, &new);
        let found = broken.iter().any(|it| it.contains(expected));
        ensure!(found, "no {expected:?} in {broken:?}");
    }
    Ok(())
}

#[test]
fn what_only_grows_breaks_nobody() -> anyhow::Result<()> {
    let new = descriptors::now()?;
    let mut old = new.clone();
    let request = message(&mut old, "StoredRequest");
    request.field.pop().context("it has fields")?;
    ensure!(
        descriptors::broken(&old, &new).is_empty(),
        "a field more breaks somebody"
    );
    let mut reserved = new.clone();
    let request = message(&mut reserved, "StoredRequest");
    let gone = request.field.pop().context("it has fields")?;
    request.reserved_name.push(gone.name().to_owned());
    request
        .reserved_range
        .push(prost_types::descriptor_proto::ReservedRange {
            start: gone.number,
            end: gone.number.map(|number| number + 1),
        });
    ensure!(
        descriptors::broken(&new, &reserved).is_empty(),
        "a reserved field breaks somebody"
    );
    Ok(())
}
