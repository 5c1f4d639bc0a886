//! How wide each column of a table is.
//!
//! Off a terminal, a column has the width it is configured with. On a terminal, columns share the line in proportion
//! to these, within their bounds; where that is too little, text gives way before numbers and nothing vanishes as long
//! as a few letters of each fit.

/// A text column gives way to this many characters before others lose what they need: most names of programs.
const COMFORTABLE: usize = 10;

/// A text column that must give way keeps this many characters: a few letters and the ellipsis.
const READABLE: usize = 4;

/// What is known of a column before it is fitted. All in terminal columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The configured width.
    pub(super) width: usize,
    /// Not narrower than this, if the line allows.
    pub(super) min: usize,
    /// Not wider than this.
    pub(super) max: usize,
    /// Always `width`.
    pub(super) fixed: bool,
    /// What the header needs.
    pub(super) header: usize,
    /// Cells are cut to fit; numbers never are.
    pub(super) is_text: bool,
}

impl Wish {
    /// What a column keeps of its header.
    fn header_floor(&self) -> usize {
        self.header.min(self.width).min(self.max).max(1)
    }

    fn floor(&self) -> usize {
        if self.fixed { self.width } else { self.min.max(self.header_floor()) }
    }

    fn ceiling(&self) -> usize {
        if self.fixed { self.width } else { self.max.max(self.floor()) }
    }
}

/// The width of each column on a terminal of `line` characters; columns are separated by one space. The sum is
/// larger than the line only if even four characters a text column don't fit.
pub(super) fn fit(wishes: &[Wish], line: usize) -> Vec<usize> {
    let available = line.saturating_sub(wishes.len().saturating_sub(1));
    let floors: Vec<usize> = wishes.iter().map(Wish::floor).collect();
    if floors.iter().sum::<usize>() > available {
        squeeze(wishes, &floors, available)
    } else {
        grow(wishes, available)
    }
}

/// Shares `available` in proportion to the configured widths. A column that this would put out of its bounds gets
/// its bound, and the others share the rest.
fn grow(wishes: &[Wish], available: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = wishes.iter().map(|w| w.width).collect();
    let mut flexible: Vec<usize> = (0..wishes.len()).filter(|&i| !wishes[i].fixed).collect();
    loop {
        let taken: usize = (0..wishes.len()).filter(|i| !flexible.contains(i)).map(|i| widths[i]).sum();
        let rest = available.saturating_sub(taken);
        let wanted: usize = flexible.iter().map(|&i| wishes[i].width).sum::<usize>().max(1);
        let (mut raised, mut lowered) = (0, 0);
        for &i in &flexible {
            let share = wishes[i].width * rest / wanted;
            widths[i] = share.clamp(wishes[i].floor(), wishes[i].ceiling());
            raised += widths[i].saturating_sub(share);
            lowered += share.saturating_sub(widths[i]);
        }
        // Settling only the bounds on the side that outweighs keeps the sum within the line.
        let before = flexible.len();
        flexible.retain(|&i| {
            let at_floor = widths[i] == wishes[i].floor() && raised > 0 && raised >= lowered;
            let at_ceiling = widths[i] == wishes[i].ceiling() && lowered > 0 && lowered >= raised;
            !(at_floor || at_ceiling)
        });
        if flexible.len() == before {
            break;
        }
    }
    // What rounding left over.
    let mut left = available.saturating_sub(widths.iter().sum());
    while left > 0 {
        let mut grown = false;
        for &i in &flexible {
            if left > 0 && widths[i] < wishes[i].ceiling() {
                widths[i] += 1;
                left -= 1;
                grown = true;
            }
        }
        if !grown {
            break;
        }
    }
    widths
}

/// Takes from the widest text column first: down to what an image asks for or is comfortable, then to what is still
/// readable; then from numbers what is more than their header. Headers give way with their columns, for a name that
/// is cut still says what it is, and a value that is cut may not.
fn squeeze(wishes: &[Wish], floors: &[usize], available: usize) -> Vec<usize> {
    type Floor = fn(&Wish) -> usize;
    let mut widths: Vec<usize> = wishes
        .iter()
        .zip(floors)
        .map(|(w, &floor)| if w.is_text { floor.max(w.width.min(w.ceiling())) } else { floor })
        .collect();
    let steps: [(bool, Floor); 5] = [
        (true, |w| w.min.max(COMFORTABLE)),
        (true, |_| COMFORTABLE),
        (true, |_| READABLE),
        (true, |w| w.header_floor().min(READABLE)),
        (false, Wish::header_floor),
    ];
    for (is_text, floor) in steps {
        while widths.iter().sum::<usize>() > available {
            let widest = (0..wishes.len())
                .filter(|&i| {
                    !wishes[i].fixed && wishes[i].is_text == is_text && widths[i] > floor(&wishes[i])
                })
                .max_by_key(|&i| widths[i]);
            let Some(i) = widest else { break };
            widths[i] -= 1;
        }
    }
    widths
}
