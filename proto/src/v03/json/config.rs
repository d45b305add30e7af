//! What requests carry: the params of sends and queries, and push configurations.
//!
//! # Invariants
//! - `blocking` is always said when a send is written: what its absence means differs from server to
//!   server. Read, its absence means that the caller waits, which is what the JSON servers of the Python,
//!   JS and Go SDKs take it for.
//! - A `historyLength` of 0 means "all" to servers of 0.3, and so is read as not set.

use serde::{de::MapAccess, ser::SerializeMap};

use super::{
    super::{
        shape::{As, Shape, get, put, put_list, put_some, put_text, take},
        wire::name,
    },
    Message,
};
use crate::{
    a2a,
    protojson::{Field, Flag, Int32, List, Object, Text},
};

/// `MessageSendParams`.
pub(in super::super) struct SendParams;

impl Shape for SendParams {
    type Value = a2a::SendMessageRequest;
    type Draft = a2a::SendMessageRequest;
    const NAME: &'static str = "MessageSendParams";

    fn write<M: SerializeMap>(
        request: &a2a::SendMessageRequest,
        out: &mut M,
    ) -> Result<(), M::Error> {
        put_some::<As<Message>, M>(out, "message", request.message.as_ref())?;
        let none = a2a::SendMessageConfiguration::default();
        let configuration = request.configuration.as_ref().unwrap_or(&none);
        put::<As<Configuration>, M>(out, "configuration", configuration)?;
        put_some::<Object, M>(out, "metadata", request.metadata.as_ref())
    }

    fn read<'de, A: MapAccess<'de>>(
        request: &mut a2a::SendMessageRequest,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "message" => request.message = take::<As<Message>, A>(from)?,
            "configuration" => request.configuration = take::<As<Configuration>, A>(from)?,
            "metadata" => request.metadata = take::<Object, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(request: a2a::SendMessageRequest) -> Result<a2a::SendMessageRequest, &'static str> {
        Ok(request)
    }
}

/// `MessageSendConfiguration`.
struct Configuration;

impl Shape for Configuration {
    type Value = a2a::SendMessageConfiguration;
    type Draft = a2a::SendMessageConfiguration;
    const NAME: &'static str = "MessageSendConfiguration";

    fn write<M: SerializeMap>(
        configuration: &a2a::SendMessageConfiguration,
        out: &mut M,
    ) -> Result<(), M::Error> {
        let config = configuration.task_push_notification_config.as_ref();
        put_list::<Text, M>(
            out,
            "acceptedOutputModes",
            &configuration.accepted_output_modes,
        )?;
        put_some::<As<PushConfig>, M>(out, "pushNotificationConfig", config)?;
        put_some::<Int32, M>(out, "historyLength", configuration.history_length.as_ref())?;
        put::<Flag, M>(out, "blocking", &!configuration.return_immediately)
    }

    fn read<'de, A: MapAccess<'de>>(
        configuration: &mut a2a::SendMessageConfiguration,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "acceptedOutputModes" | "accepted_output_modes" => {
                configuration.accepted_output_modes = get::<List<Text>, A>(from)?;
            }
            "pushNotificationConfig" | "push_notification_config" => {
                configuration.task_push_notification_config = take::<As<PushConfig>, A>(from)?;
            }
            "historyLength" | "history_length" => {
                configuration.history_length = history_length(from)?;
            }
            "blocking" => {
                configuration.return_immediately = take::<Flag, A>(from)? == Some(false);
            }
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(
        configuration: a2a::SendMessageConfiguration,
    ) -> Result<a2a::SendMessageConfiguration, &'static str> {
        Ok(configuration)
    }
}

fn history_length<'de, A: MapAccess<'de>>(from: &mut A) -> Result<Option<i32>, A::Error> {
    Ok(take::<Int32, A>(from)?.filter(|length| *length != 0))
}

/// `PushNotificationConfig`: where to push, without the task.
struct PushConfig;

impl Shape for PushConfig {
    type Value = a2a::TaskPushNotificationConfig;
    type Draft = a2a::TaskPushNotificationConfig;
    const NAME: &'static str = "PushNotificationConfig";

    fn write<M: SerializeMap>(
        config: &a2a::TaskPushNotificationConfig,
        out: &mut M,
    ) -> Result<(), M::Error> {
        put_text(out, "id", &config.id)?;
        put::<Text, M>(out, "url", &config.url)?;
        put_text(out, "token", &config.token)?;
        put_some::<As<Authentication>, M>(out, "authentication", config.authentication.as_ref())
    }

    fn read<'de, A: MapAccess<'de>>(
        config: &mut a2a::TaskPushNotificationConfig,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "id" => config.id = get::<Text, A>(from)?,
            "url" => config.url = get::<Text, A>(from)?,
            "token" => config.token = get::<Text, A>(from)?,
            "authentication" => config.authentication = take::<As<Authentication>, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(
        config: a2a::TaskPushNotificationConfig,
    ) -> Result<a2a::TaskPushNotificationConfig, &'static str> {
        Ok(config)
    }
}

/// `PushNotificationAuthenticationInfo`: a list of schemes, of which the pivot keeps the first.
struct Authentication;

impl Shape for Authentication {
    type Value = a2a::AuthenticationInfo;
    type Draft = a2a::AuthenticationInfo;
    const NAME: &'static str = "PushNotificationAuthenticationInfo";

    fn write<M: SerializeMap>(
        authentication: &a2a::AuthenticationInfo,
        out: &mut M,
    ) -> Result<(), M::Error> {
        let schemes: &[&str] = match authentication.scheme.as_str() {
            "" => &[],
            scheme => &[scheme],
        };
        out.serialize_entry("schemes", schemes)?;
        put_text(out, "credentials", &authentication.credentials)
    }

    fn read<'de, A: MapAccess<'de>>(
        authentication: &mut a2a::AuthenticationInfo,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "schemes" => {
                let schemes = get::<List<Text>, A>(from)?;
                authentication.scheme = schemes.into_iter().next().unwrap_or_default();
            }
            "credentials" => authentication.credentials = get::<Text, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(
        authentication: a2a::AuthenticationInfo,
    ) -> Result<a2a::AuthenticationInfo, &'static str> {
        Ok(authentication)
    }
}

/// `TaskPushNotificationConfig`: the task, and where to push within.
///
/// Over HTTP+JSON there is more than one form: with a resource name in place of the task's id, and within
/// a request to make it; or the inner object alone, as the Go SDK sends it. Their names don't collide, so
/// that all are read here.
pub(in super::super) struct TaskConfig;

#[derive(Default)]
pub(in super::super) struct TaskConfigDraft {
    task_id: String,
    config_id: String,
    inner: Option<a2a::TaskPushNotificationConfig>,
    alone: a2a::TaskPushNotificationConfig,
}

impl Shape for TaskConfig {
    type Value = a2a::TaskPushNotificationConfig;
    type Draft = TaskConfigDraft;
    const NAME: &'static str = "TaskPushNotificationConfig";

    fn write<M: SerializeMap>(
        config: &a2a::TaskPushNotificationConfig,
        out: &mut M,
    ) -> Result<(), M::Error> {
        put::<Text, M>(out, "taskId", &config.task_id)?;
        put::<As<PushConfig>, M>(out, "pushNotificationConfig", config)
    }

    fn read<'de, A: MapAccess<'de>>(
        draft: &mut TaskConfigDraft,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "taskId" | "task_id" => draft.task_id = get::<Text, A>(from)?,
            "configId" | "config_id" => draft.config_id = get::<Text, A>(from)?,
            "name" => {
                let name = get::<Text, A>(from)?;
                if let Some((task, config)) = name::parse(&name) {
                    task.clone_into(&mut draft.task_id);
                    config.clone_into(&mut draft.config_id);
                }
            }
            "pushNotificationConfig" | "push_notification_config" => {
                draft.inner = take::<As<PushConfig>, A>(from)?;
            }
            "config" => draft.inner = take::<As<Self>, A>(from)?,
            _ => return PushConfig::read(&mut draft.alone, key, from),
        }
        Ok(Field::Known)
    }

    fn finish(draft: TaskConfigDraft) -> Result<a2a::TaskPushNotificationConfig, &'static str> {
        let alone = Some(draft.alone).filter(|config| !config.url.is_empty());
        let mut config = draft.inner.or(alone).ok_or("no pushNotificationConfig")?;
        if !draft.task_id.is_empty() {
            config.task_id = draft.task_id;
        }
        if config.id.is_empty() {
            config.id = draft.config_id;
        }
        Ok(config)
    }
}

/// `TaskQueryParams`.
pub(in super::super) struct TaskQuery;

impl Shape for TaskQuery {
    type Value = a2a::GetTaskRequest;
    type Draft = a2a::GetTaskRequest;
    const NAME: &'static str = "TaskQueryParams";

    fn write<M: SerializeMap>(request: &a2a::GetTaskRequest, out: &mut M) -> Result<(), M::Error> {
        put::<Text, M>(out, "id", &request.id)?;
        put_some::<Int32, M>(out, "historyLength", request.history_length.as_ref())
    }

    fn read<'de, A: MapAccess<'de>>(
        request: &mut a2a::GetTaskRequest,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "id" => request.id = get::<Text, A>(from)?,
            "historyLength" | "history_length" => request.history_length = history_length(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(request: a2a::GetTaskRequest) -> Result<a2a::GetTaskRequest, &'static str> {
        Ok(request)
    }
}

/// `TaskIdParams`: the task's id, and metadata of which only a cancel has a use in 1.0.
pub(in super::super) struct TaskParams;

impl Shape for TaskParams {
    type Value = a2a::CancelTaskRequest;
    type Draft = a2a::CancelTaskRequest;
    const NAME: &'static str = "TaskIdParams";

    fn write<M: SerializeMap>(
        request: &a2a::CancelTaskRequest,
        out: &mut M,
    ) -> Result<(), M::Error> {
        put::<Text, M>(out, "id", &request.id)?;
        put_some::<Object, M>(out, "metadata", request.metadata.as_ref())
    }

    fn read<'de, A: MapAccess<'de>>(
        request: &mut a2a::CancelTaskRequest,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "id" => request.id = get::<Text, A>(from)?,
            "metadata" => request.metadata = take::<Object, A>(from)?,
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(request: a2a::CancelTaskRequest) -> Result<a2a::CancelTaskRequest, &'static str> {
        Ok(request)
    }
}

/// The params by which a push configuration is read or removed. Where the configuration is not named,
/// servers take the one that has the task's own id.
pub(in super::super) struct ConfigQuery;

impl Shape for ConfigQuery {
    type Value = a2a::GetTaskPushNotificationConfigRequest;
    type Draft = a2a::GetTaskPushNotificationConfigRequest;
    const NAME: &'static str = "GetTaskPushNotificationConfigParams";

    fn write<M: SerializeMap>(
        request: &a2a::GetTaskPushNotificationConfigRequest,
        out: &mut M,
    ) -> Result<(), M::Error> {
        put::<Text, M>(out, "id", &request.task_id)?;
        put_text(out, "pushNotificationConfigId", &request.id)
    }

    fn read<'de, A: MapAccess<'de>>(
        request: &mut a2a::GetTaskPushNotificationConfigRequest,
        key: &str,
        from: &mut A,
    ) -> Result<Field, A::Error> {
        match key {
            "id" => request.task_id = get::<Text, A>(from)?,
            "pushNotificationConfigId" | "push_notification_config_id" => {
                request.id = get::<Text, A>(from)?;
            }
            _ => return Ok(Field::Unknown),
        }
        Ok(Field::Known)
    }

    fn finish(
        request: a2a::GetTaskPushNotificationConfigRequest,
    ) -> Result<a2a::GetTaskPushNotificationConfigRequest, &'static str> {
        Ok(request)
    }
}
