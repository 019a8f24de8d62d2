//! What each RPC asks of its caller. An RPC without a rule is never reached where keys are in force.

use super::keys::{Caller, Scope};

/// What an RPC asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing: what probes ask.
    Open,
    /// Any key of the file.
    AnyKey,
    /// A key with this scope. For which tenants, the service itself looks at.
    Scope(Scope),
    /// A key with this scope for all tenants: what it answers or changes is not one tenant's.
    AllTenants(Scope),
}

impl Rule {
    /// The rule of a path `/package.Service/Method`.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/paceline.v1.IngestService/Enqueue"
            | "/paceline.v1.IngestService/EnqueueBatch"
            | "/paceline.v1.IngestService/EnqueueStream" => Self::Scope(Scope::Enqueue),
            "/paceline.v1.MessagesService/Get"
            | "/paceline.v1.MessagesService/Watch"
            | "/paceline.v1.EventsService/Subscribe"
            | "/paceline.v1.SuppressionService/ListSuppressions"
            | "/paceline.v1.SuppressionService/CheckSuppression"
            | "/paceline.v1.SuppressionService/ExportSuppressions"
            | "/paceline.v1.IdsService/ListIdFields"
            | "/paceline.v1.AuditService/AuditIds"
            | "/paceline.v1.LedgerService/Timeline"
            | "/paceline.v1.LedgerService/Search"
            | "/paceline.v1.StatsService/Sums" => Self::Scope(Scope::Read),
            "/paceline.v1.MessagesService/Cancel" | "/paceline.v1.LedgerService/Erase" => {
                Self::Scope(Scope::Operate)
            }
            "/paceline.v1.StopsService/Stop"
            | "/paceline.v1.StopsService/ListStops"
            | "/paceline.v1.StopsService/ReleaseStop"
            | "/paceline.v1.DeadLettersService/ListDeadLetters"
            | "/paceline.v1.DeadLettersService/ShowDeadLetter"
            | "/paceline.v1.DeadLettersService/RedriveDeadLetters"
            | "/paceline.v1.DeadLettersService/DiscardDeadLetters"
            | "/paceline.v1.DoubtService/ListDoubts"
            | "/paceline.v1.DoubtService/SettleDoubts"
            | "/paceline.v1.SuppressionService/AddSuppressions"
            | "/paceline.v1.SuppressionService/RemoveSuppression"
            | "/paceline.v1.SuppressionService/ImportSuppressions"
            | "/paceline.v1.ReplayService/Replay" => Self::Scope(Scope::Operate),
            "/paceline.v1.MessagesService/Queue"
            | "/paceline.v1.ThrottleService/Describe"
            | "/paceline.v1.ThrottleService/Journal" => Self::AllTenants(Scope::Read),
            "/paceline.v1.TemplatesService/List"
            | "/paceline.v1.TemplatesService/Preview"
            | "/paceline.v1.TemplatesService/TemplateStats"
            | "/paceline.v1.TemplatesService/Check"
            | "/paceline.v1.PublishService/ListPublished" => Self::Scope(Scope::Templates),
            // Templates are no tenant's.
            "/paceline.v1.PublishService/Publish" => Self::AllTenants(Scope::Publish),
            "/paceline.v1.ThrottleService/Refresh"
            | "/paceline.v1.ThrottleService/Release"
            | "/paceline.v1.ThrottleService/Feedback" => Self::AllTenants(Scope::Throttle),
            "/paceline.v1.ThrottleService/SetOverride"
            | "/paceline.v1.ThrottleService/ClearOverride"
            | "/paceline.v1.ThrottleService/StartWarmUp"
            | "/paceline.v1.ThrottleService/StopWarmUp"
            | "/paceline.v1.LedgerService/Retain" => Self::AllTenants(Scope::Operate),
            _ if path.starts_with("/grpc.health.v1.Health/") => Self::Open,
            _ if path.starts_with("/grpc.reflection.v1.ServerReflection/")
                || path.starts_with("/grpc.reflection.v1alpha.ServerReflection/") =>
            {
                Self::AnyKey
            }
            _ => return None,
        })
    }

    /// Why `caller` may not call it, if it may not.
    pub(super) fn refusal(self, caller: &Caller) -> Option<Refusal> {
        match self {
            Self::Open | Self::AnyKey => None,
            Self::Scope(scope) | Self::AllTenants(scope) if !caller.has(scope) => Some(Refusal::Scope(scope)),
            Self::AllTenants(_) if !caller.acts_for_all() => Some(Refusal::Tenant),
            Self::Scope(_) | Self::AllTenants(_) => None,
        }
    }
}

/// Why a caller with a good key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Scope(Scope),
    Tenant,
}

#[cfg(test)]
mod tests {
    use paceline_wire::DESCRIPTORS;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::{Refusal, Rule};
    use crate::access::{Caller, Keys, Scope};

    #[test]
    fn every_rpc_has_a_rule_and_none_of_ours_is_open() {
        let descriptors = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let mut count = 0;
        for file in &descriptors.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let rule = Rule::of(&path);
                    assert!(
                        matches!(rule, Some(Rule::Scope(_) | Rule::AllTenants(_))),
                        "{path}: {rule:?}; say in access/rules.rs who may call it"
                    );
                    count += 1;
                }
            }
        }
        assert!(count >= 18, "only {count} methods were found");
    }

    #[test]
    fn foreign_services_are_open_or_need_a_key() {
        assert_eq!(Rule::of("/grpc.health.v1.Health/Check"), Some(Rule::Open));
        let reflection = Rule::of("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
        assert_eq!(reflection, Some(Rule::AnyKey));
        for path in [
            "/paceline.v1.IngestService/Enqueue2",
            "/paceline.v1.IngestService/enqueue",
            "//grpc.health.v1.Health/Check",
            "/grpc.health.v1.HealthX/Check",
            "",
        ] {
            assert_eq!(Rule::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_scope_of_one_tenant_is_no_scope_for_all() {
        let keys = |tenant: &str| {
            Keys::of(&format!(
                "[[key]]\nname = \"k\"\nsha256 = \"{}\"\ntenant = \"{tenant}\"\nscopes = [\"read\"]\n",
                // printf k | sha256sum
                "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
            ))
        };
        let (one, all) = (keys("shop"), keys("*"));
        let one = one.caller(b"k").expect("it is there");
        let all = all.caller(b"k").expect("it is there");
        let refused_scope = Some(Refusal::Scope(Scope::Operate));
        for (rule, of_one, of_all) in [
            (Rule::Open, None, None),
            (Rule::AnyKey, None, None),
            (Rule::Scope(Scope::Read), None, None),
            (Rule::AllTenants(Scope::Read), Some(Refusal::Tenant), None),
            (Rule::Scope(Scope::Operate), refused_scope, refused_scope),
            (Rule::AllTenants(Scope::Operate), refused_scope, refused_scope),
        ] {
            assert_eq!(rule.refusal(one), of_one, "{rule:?}");
            assert_eq!(rule.refusal(all), of_all, "{rule:?}");
            assert_eq!(rule.refusal(&Caller::anyone()), None, "{rule:?}");
        }
    }
}
