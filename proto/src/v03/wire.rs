//! The messages of `a2a.v1`, each made of the pivot's and the reverse: what gRPC carries as protobuf and
//! HTTP+JSON as ProtoJSON.
//!
//! # Invariants
//! - Ids stand in resource names: `tasks/{id}` and `tasks/{id}/pushNotificationConfigs/{id}`. A name that
//!   names no task is refused in a request.
//! - No configuration of a send is a configuration that waits; one that is there says by `blocking`
//!   whether it waits, since protobuf can't tell "not said" from "no". Written, it is always there.

mod content;
pub(super) mod name;

use crate::{a2a, a2a_v03 as old, error::Problem};

impl From<&a2a::SendMessageRequest> for old::SendMessageRequest {
    fn from(new: &a2a::SendMessageRequest) -> Self {
        let none = a2a::SendMessageConfiguration::default();
        let configuration = new.configuration.as_ref().unwrap_or(&none);
        Self {
            request: new.message.as_ref().map(Into::into),
            configuration: Some(configuration.into()),
            metadata: new.metadata.clone(),
        }
    }
}

impl From<old::SendMessageRequest> for a2a::SendMessageRequest {
    fn from(old: old::SendMessageRequest) -> Self {
        Self {
            tenant: String::new(),
            message: old.request.map(Into::into),
            configuration: old.configuration.map(Into::into),
            metadata: old.metadata,
        }
    }
}

impl From<&a2a::SendMessageConfiguration> for old::SendMessageConfiguration {
    fn from(new: &a2a::SendMessageConfiguration) -> Self {
        Self {
            accepted_output_modes: new.accepted_output_modes.clone(),
            push_notification: new.task_push_notification_config.as_ref().map(Into::into),
            history_length: new.history_length.unwrap_or_default(),
            blocking: !new.return_immediately,
        }
    }
}

impl From<old::SendMessageConfiguration> for a2a::SendMessageConfiguration {
    fn from(old: old::SendMessageConfiguration) -> Self {
        Self {
            accepted_output_modes: old.accepted_output_modes,
            task_push_notification_config: old.push_notification.map(Into::into),
            history_length: Some(old.history_length).filter(|length| *length != 0),
            return_immediately: !old.blocking,
        }
    }
}

impl From<&a2a::TaskPushNotificationConfig> for old::PushNotificationConfig {
    fn from(new: &a2a::TaskPushNotificationConfig) -> Self {
        Self {
            id: new.id.clone(),
            url: new.url.clone(),
            token: new.token.clone(),
            authentication: new.authentication.as_ref().map(Into::into),
        }
    }
}

impl From<old::PushNotificationConfig> for a2a::TaskPushNotificationConfig {
    fn from(old: old::PushNotificationConfig) -> Self {
        Self {
            id: old.id,
            url: old.url,
            token: old.token,
            authentication: old.authentication.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<&a2a::AuthenticationInfo> for old::AuthenticationInfo {
    fn from(new: &a2a::AuthenticationInfo) -> Self {
        Self {
            schemes: Some(new.scheme.clone())
                .filter(|scheme| !scheme.is_empty())
                .into_iter()
                .collect(),
            credentials: new.credentials.clone(),
        }
    }
}

impl From<old::AuthenticationInfo> for a2a::AuthenticationInfo {
    fn from(old: old::AuthenticationInfo) -> Self {
        Self {
            scheme: old.schemes.into_iter().next().unwrap_or_default(),
            credentials: old.credentials,
        }
    }
}

impl From<&a2a::TaskPushNotificationConfig> for old::TaskPushNotificationConfig {
    fn from(new: &a2a::TaskPushNotificationConfig) -> Self {
        Self {
            name: name::of_config(&new.task_id, &new.id),
            push_notification_config: Some(new.into()),
        }
    }
}

impl From<old::TaskPushNotificationConfig> for a2a::TaskPushNotificationConfig {
    fn from(old: old::TaskPushNotificationConfig) -> Self {
        let (task_id, id) = name::parse(&old.name).unwrap_or_default();
        let mut new: Self = old
            .push_notification_config
            .map(Into::into)
            .unwrap_or_default();
        task_id.clone_into(&mut new.task_id);
        if new.id.is_empty() {
            id.clone_into(&mut new.id);
        }
        new
    }
}

impl From<&a2a::TaskPushNotificationConfig> for old::CreateTaskPushNotificationConfigRequest {
    fn from(new: &a2a::TaskPushNotificationConfig) -> Self {
        Self {
            parent: name::of_task(&new.task_id),
            config_id: new.id.clone(),
            config: Some(new.into()),
        }
    }
}

impl TryFrom<old::CreateTaskPushNotificationConfigRequest> for a2a::TaskPushNotificationConfig {
    type Error = Problem;

    fn try_from(old: old::CreateTaskPushNotificationConfigRequest) -> Result<Self, Problem> {
        let task_id = name::task(&old.parent)?;
        let mut new: Self = old.config.map(Into::into).unwrap_or_default();
        new.task_id = task_id;
        if new.id.is_empty() {
            new.id = old.config_id;
        }
        Ok(new)
    }
}

impl From<&a2a::ListTaskPushNotificationConfigsResponse>
    for old::ListTaskPushNotificationConfigResponse
{
    fn from(new: &a2a::ListTaskPushNotificationConfigsResponse) -> Self {
        Self {
            configs: new.configs.iter().map(Into::into).collect(),
            next_page_token: new.next_page_token.clone(),
        }
    }
}

impl From<old::ListTaskPushNotificationConfigResponse>
    for a2a::ListTaskPushNotificationConfigsResponse
{
    fn from(old: old::ListTaskPushNotificationConfigResponse) -> Self {
        Self {
            configs: old.configs.into_iter().map(Into::into).collect(),
            next_page_token: old.next_page_token,
        }
    }
}
