//! Policies as tmpfs's option `mpol=` names them (`tmpfs(5)`).

use super::{MemoryPolicy, NodeRule, PolicyMode};
use base::{Errno, NodeId, NodeSet};

impl MemoryPolicy {
    /// The policy that `MODE[=static|=relative][:NODES]` names where pages may lie on `nodes`; none for `default`.
    ///
    /// Errors: `EINVAL` there is no such mode or rule, or nodes are missing, too many, or none of `nodes`. `interleave`
    /// without nodes means all, `prefer` without one the nearest.
    pub fn parse(text: &str, nodes: &NodeSet) -> Result<Option<Self>, Errno> {
        let (words, list) = text.split_once(':').map_or((text, None), |(words, list)| (words, Some(list)));
        let (mode, rule) = words.split_once('=').map_or((words, None), |(mode, rule)| (mode, Some(rule)));
        let rule = match rule {
            None => NodeRule::Remap,
            Some("static") => NodeRule::Static,
            Some("relative") => NodeRule::Relative,
            Some(_) => return Err(Errno::EINVAL),
        };
        let last = nodes.iter().last().unwrap_or(NodeId::new(0));
        let parse = |list| NodeSet::parse_list(list, last).map_err(|_| Errno::EINVAL);
        let named = list.map(parse).transpose()?;
        if named.is_some_and(|named| named.is_empty() || !named.is_subset_of(nodes)) {
            return Err(Errno::EINVAL);
        }
        let (mode, named) = match (mode, named) {
            ("default", None) if rule == NodeRule::Remap => return Ok(None),
            ("local", None) => (PolicyMode::Local, NodeSet::EMPTY),
            ("prefer", None) => (PolicyMode::Preferred, NodeSet::EMPTY),
            ("prefer", Some(named)) if named.iter().count() == 1 => (PolicyMode::Preferred, named),
            ("prefer (many)", Some(named)) => (PolicyMode::PreferredMany, named),
            ("bind", Some(named)) => (PolicyMode::Bind, named),
            ("interleave", named) => (PolicyMode::Interleave, named.unwrap_or(*nodes)),
            _ => return Err(Errno::EINVAL),
        };
        Self::new(mode, rule, named, nodes).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn policies_are_shown_as_they_are_named() {
        let nodes: NodeSet = (0..4).map(NodeId::new).collect();
        let shown = |text| MemoryPolicy::parse(text, &nodes).map(|policy| policy.map(|policy| policy.to_string()));
        for text in ["local", "prefer:1", "bind:0,2", "bind=static:3", "interleave=relative:0-1", "prefer (many):0-1"] {
            assert_eq!(shown(text), Ok(Some(text.to_string())));
        }
        assert_eq!(shown("interleave"), Ok(Some("interleave:0-3".to_string())));
        assert_eq!(shown("prefer"), Ok(Some("local".to_string())));
        assert_eq!(shown("default"), Ok(None));
        let wrong = [
            "",
            "bind",
            "bind:",
            "bind:4",
            "bind:x",
            "prefer:0-1",
            "local:0",
            "default:0",
            "bind=fixed:0",
            "weighted:0",
        ];
        for text in wrong {
            assert_eq!(shown(text), Err(Errno::EINVAL), "{text}");
        }
    }
}
