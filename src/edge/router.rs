//! Rows of the route table, and how each becomes a warp filter.
//!
//! A template such as `/v1/projects/{id}/files/{path..}` is the one name of a route:
//! in the table, in `openapi.json` and as a label of the metrics. `{name}` is one
//! segment, `{name..}` the rest of the path, which may be empty.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::upgrade::OnUpgrade;
use sandtree_model::Principal;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method};
use warp::path::FullPath;
use warp::{Filter, Rejection};

use super::body::Body;
use super::context::{Call, Context, Peer, PreviewHost};
use super::errors::Problem;
use super::reply::{Answered, Response};

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Answered> + Send + Sync>;

/// The template of the route that answered; a label of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answerer(pub &'static str);

/// One row of the table: a path and what can be done with it.
pub struct Route {
    /// The path, with its parameters in braces.
    pub template: &'static str,
    methods: Vec<On>,
}

/// A method, or all of them, and who handles it.
pub struct On {
    method: Option<Method>,
    handler: Handler,
}

/// A row of the table.
#[must_use]
pub fn at<const N: usize>(template: &'static str, methods: [On; N]) -> Route {
    Route { template, methods: methods.into() }
}

macro_rules! methods {
    ($($name:ident $method:expr, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub fn $name<H, F>(handler: H) -> On
        where
            H: Fn(Call) -> F + Send + Sync + 'static,
            F: Future<Output = Answered> + Send + 'static,
        {
            On { method: $method, handler: Arc::new(move |call| handler(call).boxed()) }
        }
    )*};
}

methods! {
    get Some(Method::GET), "Handles `GET`, and `HEAD` with it.";
    post Some(Method::POST), "Handles `POST`.";
    put Some(Method::PUT), "Handles `PUT`.";
    patch Some(Method::PATCH), "Handles `PATCH`.";
    delete Some(Method::DELETE), "Handles `DELETE`.";
    any None, "Handles every method.";
}

impl Route {
    /// The methods that this path knows, in lower case, without `head`; empty for all.
    pub fn methods(&self) -> impl Iterator<Item = String> {
        self.methods.iter().filter_map(|on| Some(on.method.as_ref()?.as_str().to_lowercase()))
    }

    /// Whether a path is this row's.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        Params::of(self.template, path).is_some()
    }

    /// The row as a filter; it rejects what is not its path, and answers the rest.
    pub(super) fn filter(self, context: &Context) -> BoxedFilter<(Response,)> {
        let template = self.template;
        let matching = warp::path::full().and_then(move |path: FullPath| async move {
            let params = Params::of(template, path.as_str());
            params.map(|params| (path, params)).ok_or_else(warp::reject::not_found)
        });
        let route = Arc::new(self);
        matching
            .and(call(context))
            .then(move |(path, params): (FullPath, Params), mut call: Call| {
                call.path = path.as_str().to_owned();
                call.params = params;
                Arc::clone(&route).answer(call)
            })
            .boxed()
    }

    async fn answer(self: Arc<Self>, call: Call) -> Response {
        answered(self.template, self.dispatch(call).await)
    }

    async fn dispatch(&self, call: Call) -> Answered {
        let wanted = if call.method == Method::HEAD { Method::GET } else { call.method.clone() };
        let mut methods = self.methods.iter();
        match methods.find(|on| on.method.as_ref().is_none_or(|method| *method == wanted)) {
            Some(on) => (on.handler)(call).await,
            None => Err(Problem::method_not_allowed(call.method.as_str(), self.allow())),
        }
    }

    fn allow(&self) -> String {
        let mut names = Vec::new();
        for method in self.methods.iter().filter_map(|on| on.method.as_ref()) {
            names.push(method.as_str());
            if *method == Method::GET {
                names.push("HEAD");
            }
        }
        names.join(", ")
    }
}

/// Everything that comes by a preview's host name, whatever its path.
pub(super) fn by_preview_host<H, F>(context: &Context, handler: H) -> BoxedFilter<(Response,)>
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    warp::ext::get::<PreviewHost>()
        .and(warp::path::full())
        .and(call(context))
        .then(move |_, path: FullPath, mut call: Call| {
            call.path = path.as_str().to_owned();
            let answer = handler(call);
            async move { answered("preview host", answer.await) }
        })
        .boxed()
}

fn answered(template: &'static str, answer: Answered) -> Response {
    let mut response = answer.unwrap_or_else(|problem| {
        problem.log(template);
        problem.into_response()
    });
    response.extensions_mut().insert(Answerer(template));
    response
}

/// Several filters as one; the first that does not reject answers.
pub(super) fn first_of(
    filters: impl IntoIterator<Item = BoxedFilter<(Response,)>>,
) -> Option<BoxedFilter<(Response,)>> {
    filters.into_iter().reduce(|all, next| all.or(next).unify().boxed())
}

/// Collects what a handler may want to know; path and parameters are set by the row.
fn call(context: &Context) -> impl Filter<Extract = (Call,), Error = Rejection> + Clone + use<> {
    let context = context.clone();
    let query = warp::query::raw().map(Some).or(warp::any().map(|| None)).unify();
    let extensions = warp::ext::optional::<Peer>()
        .and(warp::ext::optional::<PreviewHost>())
        .and(warp::ext::optional::<Principal>())
        .and(warp::ext::optional::<OnUpgrade>());
    warp::method()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .and(extensions)
        .map(move |method, query, headers: HeaderMap, body, peer, preview, principal, upgrade| {
            Call {
                context: context.clone(),
                method,
                path: String::new(),
                query,
                headers,
                body: Body::new(body),
                peer,
                preview,
                params: Params::default(),
                principal,
                upgrade,
            }
        })
}

/// The parameters of one path, as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(&'static str, Box<str>)>);

impl Params {
    /// A parameter by its name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    /// The parameters, if the path follows the template.
    fn of(template: &'static str, path: &str) -> Option<Self> {
        let mut params = Self::default();
        let mut rest = Some(path.strip_prefix('/')?);
        for part in template.strip_prefix('/')?.split('/') {
            let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                let (segment, after) = next_segment(rest?);
                rest = (segment == part).then_some(after)?;
                continue;
            };
            if let Some(name) = name.strip_suffix("..") {
                params.0.push((name, rest?.into()));
                return Some(params);
            }
            let (segment, after) = next_segment(rest?);
            params.0.push((name, segment.into()));
            rest = after;
        }
        rest.is_none().then_some(params)
    }
}

fn next_segment(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(template: &'static str, path: &str) -> Option<Vec<String>> {
        let params = Params::of(template, path)?;
        Some(params.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn a_path_follows_its_template_or_not() {
        let files = "/v1/projects/{id}/files/{path..}";
        let rows: [(&'static str, &str, Option<&[&str]>); 11] = [
            ("/health", "/health", Some(&[])),
            ("/health", "/health/", None),
            ("/v1/projects", "/v1/project", None),
            ("/v1/projects/{id}", "/v1/projects/a%2Fb", Some(&["id=a%2Fb"])),
            ("/v1/projects/{id}", "/v1/projects/", Some(&["id="])),
            ("/v1/projects/{id}", "/v1/projects", None),
            ("/v1/projects/{id}", "/v1/projects/a/b", None),
            (files, "/v1/projects/a/files/b/c.txt", Some(&["id=a", "path=b/c.txt"])),
            (files, "/v1/projects/a/files/", Some(&["id=a", "path="])),
            (files, "/v1/projects/a/files", None),
            (files, "/v1/projects/a/files//b/", Some(&["id=a", "path=/b/"])),
        ];
        for (template, path, expected) in rows {
            let expected = expected.map(|all| all.iter().map(ToString::to_string).collect());
            assert_eq!(params(template, path), expected, "{template} {path}");
        }
    }
}
