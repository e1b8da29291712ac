#[cfg(feature = "cuda")]
use crate::Error;
use crate::{Device, Result};

/// Work that is the same every time: a GPU records it once and replays it with one call.
pub(super) enum Record {
    /// It has not run yet.
    New,
    /// It has run, so its device code is loaded, which a recording must not wait for.
    #[cfg(feature = "cuda")]
    Loaded,
    /// It is recorded.
    #[cfg(feature = "cuda")]
    Graph(crate::cuda::Graph),
    /// Its stream cannot be recorded, as the default stream of CUDA cannot: it runs call by call.
    #[cfg(feature = "cuda")]
    Refused,
}

impl Record {
    /// Run `work` on `device`, call by call or, from the second time on, as a graph. On the host it just runs.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub fn run(&mut self, device: &Device, mut work: impl FnMut() -> Result<()>) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = device {
            return match self {
                Record::New => {
                    work()?;
                    *self = Record::Loaded;
                    Ok(())
                }
                Record::Loaded => match device.capture(&mut work) {
                    Ok(graph) => {
                        graph.replay()?;
                        *self = Record::Graph(graph);
                        Ok(())
                    }
                    Err(Error::Driver { call: "cuStreamBeginCapture", .. }) => {
                        *self = Record::Refused;
                        work()
                    }
                    Err(error) => Err(error),
                },
                Record::Graph(graph) => graph.replay(),
                Record::Refused => work(),
            };
        }
        work()
    }

    /// Whether the next run is a replay.
    pub fn is_recorded(&self) -> bool {
        match self {
            #[cfg(feature = "cuda")]
            Record::Graph(_) => true,
            _ => false,
        }
    }
}
