//! `sky catalog`: the price lists of this machine, which its API server uses.
//!
//! A list is a file of the user's (`~/.sky/catalogs/v8/<cloud>/vms.csv`), or built in. The server of another machine has
//! files of its own there.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::{ConfigArgs, OutputArgs};
use super::{App, help};
use crate::base::units::Bytes;
use crate::base::{Error, Kind, Result};
use crate::catalog::{BUILT_IN_DATE, Filter, Listing, Origin, Table as Prices, display_name};
use crate::client::exit::{Exit, Outcome};
use crate::client::target::Target;
use crate::client::ui::Table;
use crate::http::call::{Call, Client};
use crate::sys::fs;
use crate::task::CLOUDS;

/// Where `SkyPilot` publishes price lists.
const HOSTED: &str =
    "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/master/catalogs/v8";
/// The largest file that is taken.
const MOST_BYTES: usize = 256 << 20;
/// The time for a download.
const DOWNLOAD_TIME: Duration = Duration::from_secs(300);
/// Machine types that `show` lists without `--all`.
const FEW: usize = 40;

/// Show and update what machines of clouds cost
#[derive(Debug, Args)]
#[command(after_help = help::CATALOG)]
pub(crate) struct CatalogArgs {
    /// What to do.
    #[command(subcommand)]
    command: Option<CatalogCommand>,
}

/// The commands of `sky catalog`.
#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// List the price lists
    List(ListArgs),
    /// Show machine types and their prices
    Show(ShowArgs),
    /// Replace a price list
    Update(UpdateArgs),
}

/// List the price lists
#[derive(Debug, Args)]
#[command(after_help = help::CATALOG)]
struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Show machine types and their prices
#[derive(Debug, Args)]
#[command(after_help = help::CATALOG)]
struct ShowArgs {
    /// The cloud
    #[arg(default_value = "aws", value_name = "CLOUD")]
    cloud: String,
    /// Only machine types whose name contains this
    #[arg(value_name = "TYPE")]
    instance_type: Option<String>,
    /// Only regions whose name contains this
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Each region, not only the cheapest
    #[arg(long)]
    all_regions: bool,
    /// All machine types, not only the first 40
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Replace a price list
#[derive(Debug, Args)]
#[command(after_help = help::CATALOG)]
struct UpdateArgs {
    /// The cloud
    #[arg(default_value = "aws", value_name = "CLOUD")]
    cloud: String,
    /// A file, or an address (http, https), with a list in the layout of SkyPilot's; `api`: AWS itself [default: the list that SkyPilot publishes]
    #[arg(long, value_name = "URL|FILE|api", value_hint = clap::ValueHint::FilePath)]
    from: Option<String>,
    /// With `--from api`: this region only
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(super) async fn run(app: &App, args: CatalogArgs) -> Outcome {
    match args.command {
        None => Ok(super::print_group_help(app, &["catalog"])),
        Some(CatalogCommand::List(args)) => list(app, &args),
        Some(CatalogCommand::Show(args)) => show(app, &args),
        Some(CatalogCommand::Update(args)) => update(app, args).await,
    }
}

/// Says so when the server that is used does not read this machine's files.
fn mention_server(app: &App, config: &ConfigArgs) -> Result<()> {
    let target = Target::resolve(&app.paths, &app.config(config)?)?;
    if !target.local {
        let url = &target.url;
        app.ui.err(&format!(
            "These are the price lists of this machine; the server {url} has its own on its machine."
        ));
    }
    Ok(())
}

/// Returns the price list of a cloud; none when there is no file and none is built in.
fn load(app: &App, cloud: &str) -> Result<Option<Prices>> {
    let path = app.paths.catalog(cloud);
    match fs::open_optional(&path)? {
        None => Ok(Prices::built_in(cloud)),
        Some(file) => Prices::read(cloud, BufReader::new(file))
            .map(Some)
            .map_err(|e| {
                e.context(format!(
                    "the price list `{}` cannot be used",
                    path.display()
                ))
                .hint("replace it: sky catalog update; or remove it")
            }),
    }
}

/// Lists the price lists.
fn list(app: &App, args: &ListArgs) -> Outcome {
    mention_server(app, &args.config)?;
    let mut table = Table::new(["CLOUD", "TYPES", "REGIONS", "ROWS", "MEMORY", "FROM"]);
    let mut records: Vec<Value> = Vec::new();
    for cloud in CLOUDS {
        let Some(prices) = load(app, cloud)? else {
            continue;
        };
        let from = match prices.origin() {
            Origin::BuiltIn => format!("built in ({BUILT_IN_DATE}, prices in some regions only)"),
            Origin::File => app.paths.catalog(cloud).display().to_string(),
        };
        let regions = prices.regions().len();
        table.row([
            display_name(cloud).into(),
            prices.type_count().to_string().into(),
            regions.to_string().into(),
            prices.len().to_string().into(),
            Bytes(prices.bytes() as u64).to_string().into(),
            from.as_str().into(),
        ]);
        records.push(json!({
            "cloud": cloud, "types": prices.type_count(), "regions": prices.regions(), "rows": prices.len(),
            "built_in": prices.origin() == Origin::BuiltIn, "from": from,
        }));
    }
    if args.output.is_json() {
        app.ui.out_json(&records)?;
    } else {
        app.ui
            .out(table.render(app.ui.out_colors()).trim_end_matches('\n'));
        app.ui
            .err("`sky catalog update` replaces a list by the one that SkyPilot publishes.");
    }
    Ok(Exit::Success)
}

/// Shows machine types.
fn show(app: &App, args: &ShowArgs) -> Outcome {
    mention_server(app, &args.config)?;
    let cloud = known_cloud(&args.cloud)?;
    let Some(prices) = load(app, cloud)? else {
        return Err(Error::new(
            Kind::NotFound,
            format!("there is no price list of {}", display_name(cloud)),
        )
        .hint(format!("get one: sky catalog update {cloud}"))
        .into());
    };
    let filter = Filter {
        instance_type: args.instance_type.clone(),
        region: args.region.clone(),
        all_regions: args.all_regions,
        ..Filter::default()
    };
    let mut found = prices.list(&filter);
    found.sort_by(|a, b| {
        let price = |listing: &Listing| listing.hourly.map_or(f64::INFINITY, |dollars| dollars.0);
        price(a)
            .total_cmp(&price(b))
            .then_with(|| a.instance_type.cmp(&b.instance_type))
    });
    if args.output.is_json() {
        app.ui
            .out_json(&found.iter().map(record).collect::<Vec<_>>())?;
        return Ok(Exit::Success);
    }
    if found.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            "the price list has no such machine type there",
        )
        .hint(format!("sky catalog show {cloud} --all"))
        .into());
    }
    let left = found
        .len()
        .saturating_sub(if args.all { usize::MAX } else { FEW });
    found.truncate(found.len() - left);
    app.ui.out(
        machines(&found)
            .render(app.ui.out_colors())
            .trim_end_matches('\n'),
    );
    if left > 0 {
        app.ui.err(&format!(
            "{left} more: name a part of the machine type, or --all."
        ));
    }
    Ok(Exit::Success)
}

/// The table of machine types.
fn machines(found: &[Listing]) -> Table {
    let mut table = Table::new([
        "INSTANCE_TYPE",
        "vCPUs",
        "MEMORY",
        "GPUS",
        "ARCH",
        "HOURLY_PRICE",
        "HOURLY_SPOT_PRICE",
        "REGION",
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for one in found {
        table.row([
            or_dash(one.instance_type.clone()).into(),
            or_dash(one.vcpus.map(|n| n.to_string())).into(),
            or_dash(one.memory_gb.map(|n| format!("{n}GB"))).into(),
            or_dash(
                one.accelerator
                    .as_ref()
                    .map(|(name, count)| format!("{name}:{count}")),
            )
            .into(),
            or_dash(one.arch.clone()).into(),
            or_dash(one.hourly.map(|price| format!("$ {:.4}", price.0))).into(),
            or_dash(one.spot.map(|price| format!("$ {:.4}", price.0))).into(),
            or_dash(one.region.clone()).into(),
        ]);
    }
    table
}

/// A machine type for programs.
fn record(one: &Listing) -> Value {
    let accelerator = one.accelerator.as_ref();
    json!({
        "instance_type": one.instance_type, "vcpus": one.vcpus, "memory_gb": one.memory_gb, "arch": one.arch,
        "accelerator": accelerator.map(|(name, _)| name), "accelerator_count": accelerator.map(|(_, count)| count),
        "accelerator_memory_gb": one.device_gb, "price": one.hourly, "spot_price": one.spot, "region": one.region,
    })
}

/// Replaces a price list.
async fn update(app: &App, args: UpdateArgs) -> Outcome {
    mention_server(app, &args.config)?;
    let cloud = known_cloud(&args.cloud)?;
    let from = args
        .from
        .unwrap_or_else(|| format!("{HOSTED}/{cloud}/vms.csv"));
    let is_address = from.contains("://");
    let asks_aws = from == "api";
    if asks_aws && cloud != "aws" || args.region.is_some() && !asks_aws {
        return Err(
            Error::new(Kind::Usage, "`api` and `--region` are for AWS only")
                .hint("sky catalog update aws --from api [--region REGION]")
                .into(),
        );
    }
    app.ui.spin(if asks_aws {
        "Asking AWS what it sells"
    } else if is_address {
        "Getting the price list"
    } else {
        "Reading the price list"
    });
    let bytes = if asks_aws {
        let list = load(app, cloud)?;
        super::catalog_aws::fetch(app.paths.home(), args.region.as_deref(), list.as_ref()).await
    } else if is_address {
        download(&from).await
    } else {
        read(Path::new(&from))
    };
    app.ui.end_spin();
    let unusable = |e: Error| {
        let shown = crate::base::ids::clip(from.split('?').next().unwrap_or_default());
        e.context(format!("the price list `{shown}` cannot be used"))
            .hint("the list in use was not changed")
    };
    let bytes = bytes.map_err(unusable)?;
    let prices = Prices::read(cloud, bytes.as_slice()).map_err(unusable)?;
    if prices.len() == 0 {
        return Err(unusable(Error::new(Kind::Invalid, "it has no rows")).into());
    }
    let path = app.paths.catalog(cloud);
    if let Some(parent) = path.parent() {
        fs::private_dir(parent)?;
    }
    fs::write_atomic(&path, &bytes, 0o644)?;
    app.ui.out(&format!(
        "{}: {} machine types in {} regions, {} rows, in {}.",
        display_name(cloud),
        prices.type_count(),
        prices.regions().len(),
        prices.len(),
        path.display(),
    ));
    Ok(Exit::Success)
}

/// Returns the cloud of this name.
fn known_cloud(name: &str) -> Result<&'static str> {
    let lower = name.to_ascii_lowercase();
    CLOUDS
        .into_iter()
        .find(|cloud| *cloud == lower)
        .ok_or_else(|| {
            Error::new(
                Kind::Usage,
                format!("there is no cloud named `{}`", crate::base::ids::clip(name)),
            )
            .hint(format!("one of {}", CLOUDS.join(", ")))
        })
}

/// Reads a file.
fn read(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("read `{}`", path.display());
    let file = File::open(path).map_err(|e| Error::io(doing(), &e))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(doing(), &e))?;
    if bytes.len() > MOST_BYTES {
        return Err(Error::new(
            Kind::TooLarge,
            format!("it is larger than {}", Bytes(MOST_BYTES as u64)),
        ));
    }
    Ok(bytes)
}

/// Gets a file from the network.
async fn download(url: &str) -> Result<Vec<u8>> {
    let path_at = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[path_at..]
        .find('/')
        .map_or(url.len(), |at| path_at + at);
    let (origin, path) = url.split_at(path_at);
    let endpoint = origin.parse().map_err(|_: Error| {
        Error::new(Kind::Usage, "the address of the price list is not valid")
            .hint("it begins with http:// or https://")
    })?;
    let path = if path.is_empty() { "/" } else { path };
    let call = Call::get(path).timeout(DOWNLOAD_TIME);
    // Some hosts refuse callers without a name.
    let call = call.header("user-agent", concat!("sky/", env!("CARGO_PKG_VERSION")));
    let answer = Client::new(endpoint)?.send(call).await?;
    if !answer.status().is_success() {
        return Err(Error::new(
            Kind::NotFound,
            format!("its host answered {}", answer.status()),
        ));
    }
    Ok(answer.bytes(MOST_BYTES).await?.to_vec())
}
