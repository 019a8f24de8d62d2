//! The contracts in `proto/`: what was said with them yesterday must mean the same tomorrow, in binary and in JSON.
//!
//! The rules are those of buf's category WIRE_JSON: a field's number keeps its type, its cardinality and its JSON name, and is never
//! given up without being reserved; the same for values of enums, messages, and RPCs with what they take and answer.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

use super::fixtures::Sample;

pub(crate) const NAME: &str = "descriptors.bin";
const PACKAGE: &str = "paceline.v1";

/// The contracts without their comments.
///
/// # Errors
/// If they can't be read.
pub(crate) fn sample() -> anyhow::Result<Sample> {
    Ok(Sample::new(NAME, now()?.encode_to_vec()))
}

/// Ours of what the binaries know.
///
/// # Errors
/// As [`sample`].
pub(crate) fn now() -> anyhow::Result<FileDescriptorSet> {
    let mut set = FileDescriptorSet::decode(paceline_wire::DESCRIPTORS)?;
    set.file.retain(|file| file.package() == PACKAGE);
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set.file.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(set)
}

/// What of `old` does not mean the same in `new`; nothing if all does.
pub(crate) fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let mut broken = Vec::new();
    let (old, new) = (All::of(old), All::of(new));
    for (name, message) in &old.messages {
        match new.messages.get(name) {
            Some(now) => fields(name, message, now, &mut broken),
            None => broken.push(format!("message {name} is gone")),
        }
    }
    for (name, before) in &old.enums {
        match new.enums.get(name) {
            Some(now) => values(name, before, now, &mut broken),
            None => broken.push(format!("enum {name} is gone")),
        }
    }
    for (name, service) in &old.services {
        match new.services.get(name) {
            Some(now) => methods(name, service, now, &mut broken),
            None => broken.push(format!("service {name} is gone")),
        }
    }
    broken
}

/// Everything by its whole name.
#[derive(Default)]
struct All<'a> {
    messages: BTreeMap<String, &'a DescriptorProto>,
    enums: BTreeMap<String, &'a EnumDescriptorProto>,
    services: BTreeMap<String, &'a ServiceDescriptorProto>,
}

impl<'a> All<'a> {
    fn of(set: &'a FileDescriptorSet) -> Self {
        let mut all = Self::default();
        for file in &set.file {
            all.take(file);
        }
        all
    }

    fn take(&mut self, file: &'a FileDescriptorProto) {
        let package = file.package();
        for message in &file.message_type {
            self.message(package, message);
        }
        let name = |name: &str| format!("{package}.{name}");
        self.enums
            .extend(file.enum_type.iter().map(|it| (name(it.name()), it)));
        self.services
            .extend(file.service.iter().map(|it| (name(it.name()), it)));
    }

    fn message(&mut self, within: &str, message: &'a DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for nested in &message.nested_type {
            self.message(&name, nested);
        }
        let enums = message.enum_type.iter();
        self.enums
            .extend(enums.map(|it| (format!("{name}.{}", it.name()), it)));
        self.messages.insert(name, message);
    }
}

fn fields(name: &str, old: &DescriptorProto, new: &DescriptorProto, broken: &mut Vec<String>) {
    for field in &old.field {
        let number = field.number();
        let what = format!("field {number} ({}) of {name}", field.name());
        let Some(now) = new.field.iter().find(|it| it.number() == number) else {
            let is_reserved = new
                .reserved_range
                .iter()
                .any(|range| (range.start()..range.end()).contains(&number));
            let has_name = new.reserved_name.iter().any(|it| it == field.name());
            if !(is_reserved && has_name) {
                broken.push(format!("{what} is gone, and not reserved by number and name"));
            }
            continue;
        };
        if kind(field) != kind(now) {
            broken.push(format!("{what} is of another type"));
        }
        if (field.label() == Label::Repeated) != (now.label() == Label::Repeated) {
            broken.push(format!("{what} is repeated in one of the two only"));
        }
        if field.json_name() != now.json_name() {
            broken.push(format!("{what} has another name in JSON"));
        }
        if oneof(old, field) != oneof(new, now) {
            broken.push(format!("{what} is in another oneof"));
        }
    }
    // A number that was given up must not come back as something else.
    for range in &old.reserved_range {
        let kept = |number| {
            let is_reserved =
                |it: &prost_types::descriptor_proto::ReservedRange| (it.start()..it.end()).contains(&number);
            new.reserved_range.iter().any(is_reserved)
        };
        if !(range.start()..range.end()).all(kept) {
            broken.push(format!(
                "{name} reserves less than {}..{}",
                range.start(),
                range.end()
            ));
        }
    }
}

fn kind(field: &FieldDescriptorProto) -> (Type, &str) {
    (field.r#type(), field.type_name())
}

/// The name of a field's oneof; that of `optional` is none.
fn oneof<'a>(message: &'a DescriptorProto, field: &FieldDescriptorProto) -> Option<&'a str> {
    if field.proto3_optional() {
        return None;
    }
    let index = usize::try_from(field.oneof_index?).ok()?;
    Some(message.oneof_decl.get(index)?.name())
}

fn values(name: &str, old: &EnumDescriptorProto, new: &EnumDescriptorProto, broken: &mut Vec<String>) {
    for value in &old.value {
        let now = new.value.iter().find(|it| it.number() == value.number());
        let number = value.number();
        match now {
            Some(now) if now.name() == value.name() => {}
            Some(_) => broken.push(format!(
                "value {number} ({}) of {name} has another name",
                value.name()
            )),
            None => {
                let ranges = &new.reserved_range;
                // The end of an enum's range is part of it.
                let is_reserved = ranges
                    .iter()
                    .any(|range| (range.start()..=range.end()).contains(&number));
                if !is_reserved {
                    broken.push(format!("value {number} ({}) of {name} is gone", value.name()));
                }
            }
        }
    }
}

fn methods(name: &str, old: &ServiceDescriptorProto, new: &ServiceDescriptorProto, broken: &mut Vec<String>) {
    for method in &old.method {
        let Some(now) = new.method.iter().find(|it| it.name() == method.name()) else {
            broken.push(format!("{name}.{} is gone", method.name()));
            continue;
        };
        let same = method.input_type() == now.input_type()
            && method.output_type() == now.output_type()
            && method.client_streaming() == now.client_streaming()
            && method.server_streaming() == now.server_streaming();
        if !same {
            broken.push(format!(
                "{name}.{} takes or answers something else",
                method.name()
            ));
        }
    }
}
