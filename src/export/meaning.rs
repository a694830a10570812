//! What each type of event is in the words of security tools: a name for people, how grave it is, and its class and
//! activity in the Open Cybersecurity Schema Framework.

/// A class of OCSF.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Entity Management, 3004: what happens to a key.
    Entity,
    /// API Activity, 6003: everything else that is asked, done or recorded.
    Api,
}

/// An activity of OCSF: the numbers of both classes, as far as both have them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Activity {
    Create,
    Read,
    Update,
    Delete,
    /// Of entities only.
    Enable,
    /// Of entities only.
    Disable,
    /// None of those; it is called as the event is.
    Other,
}

/// How grave it is. Numbers of OCSF.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Severity {
    Informational,
    Low,
    Medium,
    High,
}

/// What a type means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meaning {
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) activity: Activity,
    pub(super) severity: Severity,
}

impl Activity {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Create => 1,
            Self::Read => 2,
            Self::Update => 3,
            Self::Delete => 4,
            Self::Enable => 8,
            Self::Disable => 9,
            Self::Other => 99,
        }
    }

    /// Its caption; none for others.
    pub(super) const fn caption(self) -> Option<&'static str> {
        match self {
            Self::Create => Some("Create"),
            Self::Read => Some("Read"),
            Self::Update => Some("Update"),
            Self::Delete => Some("Delete"),
            Self::Enable => Some("Enable"),
            Self::Disable => Some("Disable"),
            Self::Other => None,
        }
    }

    /// What a refused command would have done, by its name.
    pub(super) fn of_command(command: &str) -> Self {
        let begins = |words: &[&str]| words.iter().any(|word| command.starts_with(word));
        let changes = [
            "update",
            "set",
            "adjust",
            "rename",
            "move",
            "rotate",
            "acknowledge",
            "bootstrap",
            "revoke",
            "disable",
            "enable",
            "selfRevoke",
        ];
        if begins(&["create", "clone", "import"]) {
            Self::Create
        } else if begins(&["delete", "erase"]) {
            Self::Delete
        } else if begins(&changes) {
            Self::Update
        } else {
            Self::Read
        }
    }
}

impl Severity {
    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
        }
    }

    pub(super) const fn caption(self) -> &'static str {
        match self {
            Self::Informational => "Informational",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }

    /// On the scale of CEF, from 0 to 10: 0 to 3 is low, 4 to 6 medium, 7 and 8 high.
    pub(super) const fn cef(self) -> u32 {
        match self {
            Self::Informational => 1,
            Self::Low => 3,
            Self::Medium => 5,
            Self::High => 8,
        }
    }
}

macro_rules! meanings {
    ($($event_type:literal => $name:literal, $class:ident $activity:ident $severity:ident;)+) => {
        /// The types that have a meaning of their own: every one that there is, see the tests.
        #[cfg(test)]
        pub(super) const KNOWN: &[&str] = &[$($event_type),+];

        /// What a type means. One that is not known is something that was done.
        pub(super) fn meaning(event_type: &str) -> Meaning {
            let (name, class, activity, severity) = match event_type {
                $($event_type => ($name, Class::$class, Activity::$activity, Severity::$severity),)+
                _ => ("Event", Class::Api, Activity::Other, Severity::Informational),
            };
            Meaning { name, class, activity, severity }
        }
    };
}

meanings! {
    "organization.created" => "Organization created", Api Create Informational;
    "organization.bootstrapped" => "Organization bootstrapped", Api Update Informational;
    "organization.signing_key_added" => "Signing key of tokens added", Api Create Medium;
    "organization.signing_key_retired" => "Signing key of tokens retired", Api Update Informational;
    "organization.signing_key_revoked" => "Signing key of tokens revoked", Api Delete High;
    "organization.renamed" => "Organization renamed", Api Update Informational;
    "organization.moved" => "Organization moved", Api Update Medium;
    "organization.policy_set" => "Policy set", Api Update Medium;
    "role.created" => "Role created", Api Create Informational;
    "role.updated" => "Role updated", Api Update Low;
    "role.deleted" => "Role deleted", Api Delete Informational;
    "organization.revocation_started" => "Revocation of keys started", Api Update Medium;
    "organization.revocation_finished" => "Revocation of keys finished", Api Update Informational;
    "workspace.created" => "Workspace created", Api Create Informational;
    "workspace.renamed" => "Workspace renamed", Api Update Informational;
    "workspace.quota_set" => "Quota set", Api Update Informational;
    "workspace.keys_reserved" => "Places of a quota reserved", Api Update Informational;
    "key.issued" => "Key issued", Entity Create Informational;
    "key.secret_acknowledged" => "Secret acknowledged", Entity Update Informational;
    "key.updated" => "Key updated", Entity Update Low;
    "key.secret_rotated" => "Secret rotated", Entity Update Informational;
    "key.secret_overlap_ended" => "Old secret ended", Entity Update Informational;
    "key.disabled" => "Key disabled", Entity Disable Low;
    "key.enabled" => "Key enabled", Entity Enable Low;
    "key.leak_reported" => "Leaked secret reported", Entity Other High;
    "key.expired" => "Key expired", Entity Disable Informational;
    "key.address_first_used" => "Key used from a new address", Entity Other Low;
    "key.credits_changed" => "Credits of a key changed", Entity Update Informational;
    "key.token_revoked" => "Token revoked", Entity Update Informational;
    "key.tokens_revoked" => "Tokens of a key revoked", Entity Update Medium;
    "key.revoked" => "Key revoked", Entity Disable Medium;
    "key.deleted" => "Key deleted", Entity Delete Informational;
    "key.erased" => "Personal data of a key erased", Entity Update Low;
    "identity.created" => "Identity created", Api Create Informational;
    "identity.updated" => "Identity updated", Api Update Informational;
    "identity.credits_changed" => "Credits of an identity changed", Api Update Informational;
    "identity.deleted" => "Identity deleted", Api Delete Informational;
    "identity.erased" => "Personal data of an identity erased", Api Update Low;
    "command.refused" => "Command refused", Api Other Medium;
    "audit.exported" => "Data exported", Api Read Low;
    "audit.read" => "Trail read", Api Read Informational;
    "log.key_added" => "Signing key of the log added", Api Create Medium;
    "log.key_retired" => "Signing key of the log retired", Api Update Medium;
    "log.heads_committed" => "Ends of streams committed", Api Other Informational;
    "usage.recorded" => "Verifications recorded", Api Other Informational;
    "usage.gap_declared" => "Verifications may be missing", Api Other Medium;
    "node.started" => "Server started", Api Other Low;
    "node.stopped" => "Server stopped", Api Other Low;
}

#[cfg(test)]
mod tests {
    use keyledger_schema::Event;

    use super::*;

    #[test]
    fn every_type_has_a_meaning_of_its_own() {
        let types: Vec<&str> = Event::TYPES.iter().map(|(name, _)| *name).collect();
        assert_eq!(KNOWN, types);
        assert_eq!(meaning("unheard.of").name, "Event");
    }

    #[test]
    fn a_key_s_life_is_entity_management_and_nothing_else_is() {
        for (event_type, _) in Event::TYPES {
            let is_entity = meaning(event_type).class == Class::Entity;
            assert_eq!(is_entity, event_type.starts_with("key."), "{event_type}");
        }
    }

    #[test]
    fn a_refused_command_is_what_it_would_have_been() {
        for (command, activity) in [
            ("createKey", Activity::Create),
            ("importKeys", Activity::Create),
            ("deleteRole", Activity::Delete),
            ("revokeKeys", Activity::Update),
            ("setCredits", Activity::Update),
            ("events", Activity::Read),
            ("exportEvents", Activity::Read),
        ] {
            assert_eq!(Activity::of_command(command), activity, "{command}");
        }
    }
}
