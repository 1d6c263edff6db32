//! `trimtab-agent survey`: what is mounted, how full it is, what a trim would do; for people and for programs.

mod json;
mod people;

use std::process::ExitCode;

use crate::{
    config::Config,
    sys::{LiveFreeSpace, Roots, survey, system},
};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// One JSON document: "schema": "trimtab-agent.survey/1"
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, roots: &Roots, config: &Config) -> anyhow::Result<ExitCode> {
    let found = survey(roots, &config.policy(), &LiveFreeSpace::default());
    let text = match (found, args.json) {
        (Ok(survey), true) => json::document(&system::read(roots)?, &survey)?,
        (Ok(survey), false) => people::page(&survey),
        (Err(error), true) => {
            super::put(&json::failure(&error)?)?;
            return Ok(ExitCode::FAILURE);
        }
        (Err(error), false) => return Err(error.into()),
    };
    super::put(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
