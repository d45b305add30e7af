//! `/NAME/members`: the members of a group, for its owners. `GET` reads a page, `POST` adds, `DELETE`
//! removes; both say `{"members": ["AGENT", {"agent": "AGENT", "context": "ID"}]}`.

use http::{HeaderValue, Method, Response, StatusCode, header};
use mesh_proto::{Fault, Problem, json};
use url::form_urlencoded;

use super::{
    JSON,
    body::{self, Body},
    rest,
};
use crate::{
    desk::{Caller, Desk, Named},
    record::Edit,
};

/// Its path below the agent's.
pub(super) const PATH: &str = "/members";

/// Answers a request whose body was read.
pub(super) async fn answer(
    desk: &Desk,
    caller: &Caller,
    (method, query): (&Method, Option<&str>),
    body: &[u8],
) -> Response<Body> {
    let answered = match *method {
        Method::GET => page(desk, caller, query.unwrap_or_default()).await,
        Method::POST => edit(desk, caller, Edit::Add, body).await,
        Method::DELETE => edit(desk, caller, Edit::Remove, body).await,
        _ => return not_so(),
    };
    answered.unwrap_or_else(|problem| rest::refuse(&problem))
}

async fn page(desk: &Desk, caller: &Caller, query: &str) -> Result<Response<Body>, Problem> {
    let (mut after, mut limit) = (String::new(), None);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "after" => after = value.into_owned(),
            "limit" => limit = Some(value.into_owned()),
            other => {
                let text = format!("{other:?} is unknown; say after and limit");
                return Err(Problem::new(Fault::InvalidParams, text).with("field", other));
            }
        }
    }
    told(&desk.members(caller, &after, limit.as_deref()).await?)
}

async fn edit(
    desk: &Desk,
    caller: &Caller,
    edit: Edit,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    let named: Named = serde_json::from_slice(body).map_err(|error| {
        let text = format!("the body must be {{\"members\": [..]}}: {error}");
        Problem::new(Fault::InvalidParams, text).with("field", "members")
    })?;
    told(&desk.edit_members(caller, edit, named).await?)
}

fn told(answer: &impl serde::Serialize) -> Result<Response<Body>, Problem> {
    let bytes = json::try_to_bytes(answer)?;
    Ok(body::full(StatusCode::OK, JSON, bytes))
}

fn not_so() -> Response<Body> {
    let text = "the members of a group are read with GET, added with POST, removed with DELETE";
    let mut response = rest::refuse(&Problem::new(Fault::MethodNotFound, text));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static("GET, POST, DELETE");
    response.headers_mut().insert(header::ALLOW, allowed);
    response
}
