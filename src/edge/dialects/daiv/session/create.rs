//! The start of a session.

use std::collections::BTreeMap;

use rand::TryRngCore as _;
use sandtree_actors::CreateRequest;
use sandtree_model::{LimitsPatch, Network, ProjectId, limits};
use sandtree_workspace::{Parents, WorkspacePath};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::super::egress::{self, Egress};
use super::super::refused::Refused;
use super::super::validate::{self, Fields, SMALL_BYTES_MAX, Spot, types};
use super::super::{PROFILE, folders};
use crate::edge::context::Call;
use crate::edge::errors::Problem;
use crate::edge::reply::{self, Response};

/// Label of a session whose changes are told with each run.
pub(in super::super) const EXTRACTS_PATCH: &str = "daiv.extract-patch";
/// Label of a session that keeps no files from run to run.
pub(in super::super) const IS_EPHEMERAL: &str = "daiv.ephemeral";

/// `POST /session/`, with the fields of earlier versions.
struct Start {
    base_image: String,
    egress: Option<Egress>,
    environment: BTreeMap<Box<str>, String>,
    memory_bytes: Option<i64>,
    cpus: Option<f64>,
    network_enabled: bool,
    extract_patch: bool,
    ephemeral: bool,
}

impl Start {
    fn read(value: &Value, spot: &mut Spot) -> Option<Self> {
        let fields = Fields::of(value, spot)?;
        let base_image = fields.required(spot, "base_image", types::text);
        let egress = fields.nullable(spot, "egress", Egress::read);
        let environment = fields.nullable(spot, "environment", types::dictionary(types::text));
        let memory_bytes = fields.nullable(spot, "memory_bytes", types::integer);
        let cpus = fields.nullable(spot, "cpus", cores);
        let network_enabled = fields.or(spot, "network_enabled", false, types::flag);
        let extract_patch = fields.or(spot, "extract_patch", false, types::flag);
        let ephemeral = fields.or(spot, "ephemeral", false, types::flag);
        Some(Self {
            base_image: base_image?,
            egress: egress?,
            environment: environment?.unwrap_or_default(),
            memory_bytes: memory_bytes?,
            cpus: cpus?,
            network_enabled: network_enabled?,
            extract_patch: extract_patch?,
            ephemeral: ephemeral?,
        })
    }

    fn request(self, name: &str) -> Result<CreateRequest, Problem> {
        let id = ProjectId::of_name(name);
        let id = id.map_err(|error| Problem::internal(&error.to_string()))?;
        let labels = [(EXTRACTS_PATCH, self.extract_patch), (IS_EPHEMERAL, self.ephemeral)];
        let labels = labels.into_iter().filter(|(_, is_set)| *is_set);
        Ok(CreateRequest {
            id: Some(id),
            name: Some(name.into()),
            profile: Some(PROFILE.into()),
            image: Some(self.base_image.into()),
            env: self.environment.into_iter().map(|(name, value)| (name, value.into())).collect(),
            labels: labels.map(|(name, _)| (name.into(), "true".into())).collect(),
            limits: LimitsPatch {
                // What is below nothing is refused as too little.
                memory_bytes: self.memory_bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
                cpu_millis: self.cpus.map(millis),
                ..LimitsPatch::default()
            },
            network: self.network_enabled.then_some(Network::Bridge),
            start: true,
            ..CreateRequest::default()
        })
    }
}

/// A number of processors that a sandbox can have.
fn cores(value: &Value, spot: &mut Spot) -> Option<f64> {
    let cpus = types::number(value, spot)?;
    let range = limits::cores();
    if range.contains(&cpus) {
        return Some(cpus);
    }
    let words = format!("must be from {} to {}", range.start(), range.end());
    spot.refuse_value(value, &words)
}

/// Thousandths of a processor.
fn millis(cpus: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    let millis = (cpus * 1000.0).round() as u64;
    millis
}

/// Starts a session: its sandbox runs and its folders are there when this answers.
pub(in super::super) async fn create(mut call: Call) -> Result<Response, Refused> {
    let (start, came) = validate::body_as_it_came(&mut call, SMALL_BYTES_MAX, Start::read).await?;
    if start.egress.is_some() {
        return Err(egress::without_authority());
    }
    let by = call.principal()?.clone();
    let name = random_name()?;
    let request = start.request(&name)?;
    let tree = &call.context.tree;
    let (view, _) = tree.create(&by, request).await.map_err(|failure| came.refused(failure))?;
    let key = &view.project.key;
    if let Err(refused) = make_folders(&call, key).await {
        let delete = sandtree_actors::Operation::Delete { keep_files: false };
        if let Err(failure) = tree.operate_later(&by, key, delete).await {
            tracing::warn!(session = %key, %failure, "a session without folders is left");
        }
        return Err(refused);
    }
    Ok(reply::json(StatusCode::OK, &json!({ "session_id": name })))
}

async fn make_folders(call: &Call, key: &sandtree_model::ProjectKey) -> Result<(), Refused> {
    let files = call.context.tree.files(key).await?;
    let made = files.write(|workspace| {
        let mut paths = folders().into_iter();
        let made =
            paths.try_for_each(|path: WorkspacePath| workspace.mkdir(&path, Parents::Create));
        (made, Vec::new())
    });
    Ok(made.await?)
}

/// As long and as random as the id of a container.
fn random_name() -> Result<String, Problem> {
    let mut bytes = [0_u8; 32];
    let filled = rand::rngs::OsRng.try_fill_bytes(&mut bytes);
    filled.map_err(|error| Problem::internal(&error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
