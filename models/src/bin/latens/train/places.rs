//! Which places are read, and what is made of them.
use super::Options;
use crate::common::{Done, Point};
use latens::lm::Site;
use latens::sae::{Config, places};

/// What an autoencoder reads, side by side if there are several, and what it predicts if that is something else: numbers of places.
#[derive(Clone)]
pub struct Reads {
    pub from: Vec<usize>,
    pub to: Option<usize>,
}

/// The places that are read, and what is trained on them: with its name and settings, without seeds.
#[derive(Default)]
pub struct Wanted {
    pub sites: Vec<Site>,
    pub runs: Vec<(Reads, String, Config)>,
}

impl Wanted {
    /// The number of a place.
    fn place(&mut self, site: Site) -> usize {
        self.sites.iter().position(|&one| one == site).unwrap_or_else(|| {
            self.sites.push(site);
            self.sites.len() - 1
        })
    }

    fn add(&mut self, from: &[Site], to: Option<Site>, (stem, config): &(String, Config)) {
        let from = from.iter().map(|&site| self.place(site)).collect();
        let reads = Reads { from, to: to.map(|site| self.place(site)) };
        self.runs.push((reads, stem.clone(), config.clone()));
    }
}

impl Options {
    /// What there is to train in a model of so many layers: autoencoders of each place that is asked for, crosscoders of all, transcoders of each
    /// layer.
    pub fn wanted(&self, layers: usize, settings: &[(String, Config)]) -> Done<Wanted> {
        let asked = self.asked(layers)?;
        let mut wanted = Wanted::default();
        let (across, others): (Vec<_>, Vec<_>) = settings.iter().partition(|(_, config)| config.transcode.is_some());
        let (of_all, plain): (Vec<_>, Vec<_>) = others.into_iter().partition(|(_, config)| config.sides > 1);
        if across.iter().any(|(_, config)| config.sides > 1) {
            return Err("--crosscoder: a transcoder reads one place".into());
        }
        if !across.is_empty()
            && of_all.is_empty()
            && plain.is_empty()
            && self.point.is_some_and(|point| point != Point::MlpInput)
        {
            return Err("--point: a transcoder reads mlp-input and predicts mlp".into());
        }
        if let Some(twice) =
            asked.iter().enumerate().find(|(at, site)| !of_all.is_empty() && asked[..*at].contains(site))
        {
            return Err(format!("--layer: {} is there twice", twice.1.layer).into());
        }
        asked.iter().for_each(|&site| plain.iter().for_each(|one| wanted.add(&[site], None, one)));
        of_all.iter().for_each(|one| wanted.add(&asked, None, one));
        for (at, &Site { layer, .. }) in asked.iter().enumerate() {
            if asked[..at].iter().all(|before| before.layer != layer) {
                across.iter().for_each(|one| wanted.add(&[Site::mlp_input(layer)], Some(Site::mlp(layer)), one));
            }
        }
        Ok(wanted)
    }

    /// The places that are asked for.
    pub fn asked(&self, layers: usize) -> Done<Vec<Site>> {
        let every = self.layers_every.map(usize::from);
        if self.site.is_empty() {
            let point = self.point.unwrap_or(Point::Residual);
            let of = every.map_or_else(|| self.layer.clone(), |every| (0..layers).step_by(every).collect());
            return Ok(of.into_iter().map(|layer| point.at(layer)).collect());
        }
        let mut all = places(layers, &self.site).map_err(|error| format!("--{error}"))?;
        all.retain(|site| every.is_none_or(|every| site.layer.is_multiple_of(every)));
        match all.is_empty() {
            true => Err("--site, --layers-every: no place that is named is in one of these layers".into()),
            false => Ok(all),
        }
    }
}
