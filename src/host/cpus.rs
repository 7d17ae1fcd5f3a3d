//! Sets of CPUs as the kernel writes them: lists (`0-1,4`) and masks (`ff,ffffffff`).

/// CPUs of a list such as `0-1,4`, ascending, without doubles. An empty text is an empty set; `None`
/// when the text is no list. At most 4,096 CPUs, so that a mistyped range costs nothing.
pub fn parse_list(text: &str) -> Option<Vec<usize>> {
    const CPUS_MAX: usize = 4_096;
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// `0-1,4` of ascending CPUs; empty for none.
pub fn list(cpus: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut i = 0;
    while i < cpus.len() {
        let first = cpus[i];
        while i + 1 < cpus.len() && cpus[i + 1] == cpus[i] + 1 {
            i += 1;
        }
        parts.push(if first == cpus[i] {
            first.to_string()
        } else {
            format!("{first}-{}", cpus[i])
        });
        i += 1;
    }
    parts.join(",")
}

/// CPUs of a mask in hexadecimal, words of 32 bits with commas between, highest first.
pub fn parse_mask(text: &str) -> Option<Vec<usize>> {
    let digits: String = text.trim().chars().filter(|&c| c != ',').collect();
    if digits.is_empty() {
        return None;
    }
    let mut cpus = Vec::new();
    for (place, digit) in digits.chars().rev().enumerate() {
        let bits = digit.to_digit(16)?;
        cpus.extend((0..4).filter(|bit| bits >> bit & 1 == 1).map(|bit| place * 4 + bit));
    }
    Some(cpus)
}

/// The mask of `cpus`, words of 32 bits with commas between, as the kernel reads it.
pub fn mask(cpus: &[usize]) -> String {
    let words = cpus.iter().max().map_or(1, |max| max / 32 + 1);
    let mut values = vec![0u32; words];
    for cpu in cpus {
        values[cpu / 32] |= 1 << (cpu % 32);
    }
    let mut text: Vec<String> = values.iter().rev().map(|word| format!("{word:08x}")).collect();
    let first = text[0].trim_start_matches('0').to_string();
    text[0] = if first.is_empty() { "0".into() } else { first };
    text.join(",")
}

/// CPUs that stand in both.
pub fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().copied().filter(|cpu| b.contains(cpu)).collect()
}

/// CPUs of `a` that do not stand in `b`.
pub fn without(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().copied().filter(|cpu| !b.contains(cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_masks_go_both_ways() {
        for (text, cpus) in [("0-1,4", vec![0, 1, 4]), ("", vec![]), ("7", vec![7])] {
            assert_eq!(parse_list(text).unwrap(), cpus);
            assert_eq!(list(&cpus), text);
        }
        assert_eq!(parse_list("4,0-2,1").unwrap(), [0, 1, 2, 4]);
        for bad in ["a", "3-1", "0-999999999", "1-", "-1"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
        for (text, cpus) in [("3", vec![0, 1]), ("1,00000000", vec![32]), ("0", vec![])] {
            assert_eq!(parse_mask(text).unwrap(), cpus);
            assert_eq!(mask(&cpus), text);
        }
        assert_eq!(parse_mask("00000003").unwrap(), [0, 1]);
        assert_eq!(parse_mask("x"), None);
        assert_eq!(parse_mask(""), None);
    }
}
