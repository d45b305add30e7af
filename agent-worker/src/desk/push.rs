//! The four operations on push configurations.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use mesh_proto::{
    Fault, Problem,
    a2a::{
        DeleteTaskPushNotificationConfigRequest, GetTaskPushNotificationConfigRequest,
        ListTaskPushNotificationConfigsRequest, ListTaskPushNotificationConfigsResponse,
        TaskPushNotificationConfig as Config,
    },
};
use mesh_runtime::egress::guard::Guard;

use super::{Caller, Desk, check, key};

/// The longest token or credentials, in bytes.
const SECRET_BYTES: usize = 4096;

/// The page when the caller names no size, and the largest.
const PAGE: usize = 100;

impl Desk {
    /// Has a task's events pushed.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], and what is wrong with the request.
    pub async fn create_config(&self, caller: &Caller, request: Config) -> Result<Config, Problem> {
        let config = checked(self.guard()?, request)?;
        let key = key(caller, &config.tenant, config.task_id.clone())?;
        self.ledger
            .give_hook(&key, config, caller.is_orphan())
            .await
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], for a configuration that is not there, too.
    pub async fn config(
        &self,
        caller: &Caller,
        request: GetTaskPushNotificationConfigRequest,
    ) -> Result<Config, Problem> {
        self.guard()?;
        let key = key(caller, &request.tenant, request.task_id)?;
        let all = self.ledger.hooks(&key, caller.is_orphan()).await?;
        let found = all.into_iter().find(|config| config.id == request.id);
        found.ok_or_else(|| {
            let text = "the task has no push configuration of this id";
            Problem::new(Fault::TaskNotFound, text).with("configId", request.id)
        })
    }

    /// Reads a page of a task's configurations, in the order in which they came.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`], and what is wrong with the request.
    pub async fn configs(
        &self,
        caller: &Caller,
        request: ListTaskPushNotificationConfigsRequest,
    ) -> Result<ListTaskPushNotificationConfigsResponse, Problem> {
        self.guard()?;
        let size = match usize::try_from(request.page_size) {
            Ok(0) => PAGE,
            Ok(size) => size.min(PAGE),
            Err(_) => return Err(check::wrong("pageSize", "must not be negative")),
        };
        let after = after(&request.page_token)?;
        let key = key(caller, &request.tenant, request.task_id)?;
        let all = self.ledger.hooks(&key, caller.is_orphan()).await?;
        let begin = match after {
            None => 0,
            Some(id) => all
                .iter()
                .position(|config| config.id == id)
                .map_or(0, |at| at + 1),
        };
        let page: Vec<_> = all.iter().skip(begin).take(size).cloned().collect();
        let is_last = begin + page.len() >= all.len();
        let next = page.last().filter(|_| !is_last);
        let next_page_token = next.map(|last| BASE64_URL_SAFE_NO_PAD.encode(&last.id));
        Ok(ListTaskPushNotificationConfigsResponse {
            next_page_token: next_page_token.unwrap_or_default(),
            configs: page,
        })
    }

    /// Has a task's events no more pushed there. That there is no such configuration is no error.
    ///
    /// # Errors
    /// [`Fault::TaskNotFound`].
    pub async fn delete_config(
        &self,
        caller: &Caller,
        request: DeleteTaskPushNotificationConfigRequest,
    ) -> Result<(), Problem> {
        self.guard()?;
        let key = key(caller, &request.tenant, request.task_id)?;
        self.ledger
            .take_hook(&key, &request.id, caller.is_orphan())
            .await
    }

    /// What a message asks to have pushed, checked.
    pub(super) fn hook(&self, given: Option<Config>) -> Result<Option<Config>, Problem> {
        let Some(given) = given else { return Ok(None) };
        checked(self.guard()?, given).map(Some)
    }

    fn guard(&self) -> Result<&Guard, Problem> {
        self.push.as_ref().ok_or_else(|| {
            Problem::new(
                Fault::PushNotificationNotSupported,
                "this agent pushes nothing; follow the task with SubscribeToTask",
            )
        })
    }
}

/// A configuration with an id, whose address may be called as far as can be told now.
fn checked(guard: &Guard, mut config: Config) -> Result<Config, Problem> {
    if config.url.is_empty() {
        return Err(check::wrong("url", "is required"));
    }
    guard
        .shape(&config.url)
        .map_err(|refused| check::wrong("url", &refused.to_string()))?;
    if config.id.is_empty() {
        config.id = mesh_runtime::dice::uuid().to_string();
    }
    check::id("id", &config.id)?;
    let is_long = |text: &str| text.len() > SECRET_BYTES;
    let is_printable = |text: &str| !text.chars().any(char::is_control);
    let secret = |field: &str, text: &str| match text {
        text if is_long(text) => Err(check::wrong(field, "is too long")),
        text if !is_printable(text) => Err(check::wrong(field, "holds control characters")),
        _ => Ok(()),
    };
    secret("token", &config.token)?;
    if let Some(given) = &config.authentication {
        secret("authentication.scheme", &given.scheme)?;
        secret("authentication.credentials", &given.credentials)?;
    }
    Ok(config)
}

fn after(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let id = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    id.map(Some)
        .ok_or_else(|| check::wrong("pageToken", "is none of ours"))
}
