//! Tells where images of this machine lie and what they take, as the controller's library sees it: a line of JSON for
//! each path. For a guest that plays the host: the machine that tests run on may have no device-mapper.

use std::io::Write;

use serde_json::{Value, json};
use trimtab_controller::{
    image::HostStorage,
    model::{
        image::{Format, Image},
        volume::{PoolDiscards, Volume},
    },
    trim::ports::Storage,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    for path in std::env::args().skip(1) {
        let image = Image { path: path.into(), format: Format::Raw };
        let (allocation, place) = (HostStorage.allocation(&image).await?, HostStorage.place(&image).await?);
        let store = place.datastore.map(|store| {
            json!({
                "id": store.id, "path": store.path, "type": store.fs_type,
                "size_bytes": store.size_bytes, "free_bytes": store.free_bytes,
            })
        });
        let line = json!({
            "allocated_bytes": allocation.allocated_bytes,
            "is_block_device": allocation.is_block_device,
            "is_shared": HostStorage.shares_extents(&image).await,
            "datastore": store,
            "volume": place.volume.as_ref().map(volume),
        });
        writeln!(std::io::stdout(), "{line}")?;
    }
    Ok(())
}

fn volume(volume: &Volume) -> Value {
    match volume {
        Volume::Thick { kind, name } => json!({ "kind": kind, "name": name }),
        Volume::Unknown(why) => json!({ "kind": "unknown", "why": why }),
        Volume::Thin(thin) => json!({
            "kind": "thin",
            "name": thin.name,
            "mapped_bytes": thin.mapped_bytes,
            "relatives": thin.relatives,
            "pool": thin.pool.name,
            "chunk_bytes": thin.pool.chunk_bytes,
            "metadata_percent": thin.pool.metadata.percent(),
            "trouble": thin.pool.trouble,
            "discards": match thin.pool.discards {
                PoolDiscards::PassedDown => "passed down",
                PoolDiscards::Freed => "freed",
                PoolDiscards::Ignored => "ignored",
            },
        }),
    }
}
