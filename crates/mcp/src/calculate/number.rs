//! A number: an exact fraction while it fits in 128 bits, floating point after that.

use super::Error;

/// A value on the way to the answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// `top / bottom` in lowest terms, `bottom` above zero.
    Exact { top: i128, bottom: i128 },
    /// Finite.
    Rounded(f64),
}

impl Number {
    /// Reads decimal digits with at most one point.
    pub(super) fn parse(digits: &str) -> Result<Self, Error> {
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let exact = || {
            let top = format!("{whole}{part}").parse::<i128>().ok()?;
            let bottom = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
            Self::fraction(top, bottom)
        };
        match exact() {
            Some(number) => Ok(number),
            None => Self::rounded(digits.parse().unwrap_or(f64::INFINITY)),
        }
    }

    pub(super) fn negate(self) -> Self {
        match self {
            // No value is i128::MIN: fractions are checked into the symmetric range.
            Self::Exact { top, bottom } => Self::Exact { top: -top, bottom },
            Self::Rounded(value) => Self::Rounded(-value),
        }
    }

    pub(super) fn add(self, other: Self) -> Result<Self, Error> {
        self.both(
            other,
            |a, b, c, d| {
                let top = a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?;
                Self::fraction(top, b.checked_mul(d)?)
            },
            |x, y| x + y,
        )
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, Error> {
        self.add(other.negate())
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, Error> {
        self.both(
            other,
            |a, b, c, d| Self::fraction(a.checked_mul(c)?, b.checked_mul(d)?),
            |x, y| x * y,
        )
    }

    pub(super) fn divide(self, other: Self) -> Result<Self, Error> {
        if other.is_zero() {
            return Err(Error::DivisionByZero);
        }
        self.both(
            other,
            |a, b, c, d| Self::fraction(a.checked_mul(d)?, b.checked_mul(c)?),
            |x, y| x / y,
        )
    }

    /// The remainder with the sign of the dividend.
    pub(super) fn remainder(self, other: Self) -> Result<Self, Error> {
        if other.is_zero() {
            return Err(Error::DivisionByZero);
        }
        self.both(
            other,
            |a, b, c, d| {
                let left = a.checked_mul(d)?;
                let right = c.checked_mul(b)?;
                Self::fraction(left.checked_rem(right)?, b.checked_mul(d)?)
            },
            |x, y| x % y,
        )
    }

    pub(super) fn power(self, exponent: Self) -> Result<Self, Error> {
        if let Self::Exact { top, bottom: 1 } = exponent {
            if self.is_zero() && top < 0 {
                return Err(Error::DivisionByZero);
            }
            let count = u32::try_from(top.unsigned_abs()).ok();
            if let Some(power) = count.and_then(|count| self.whole_power(count)) {
                let one = Self::Exact { top: 1, bottom: 1 };
                return if top < 0 {
                    one.divide(power)
                } else {
                    Ok(power)
                };
            }
        }
        Self::rounded(self.float().powf(exponent.float()))
    }

    /// The decimal digits, and whether they are exact.
    pub(super) fn digits(self) -> (String, bool) {
        if let Self::Exact { top, bottom } = self
            && let Some(digits) = finite(top, bottom)
        {
            return (digits, true);
        }
        (significant(self.float()), false)
    }

    fn both(
        self,
        other: Self,
        exact: impl FnOnce(i128, i128, i128, i128) -> Option<Self>,
        rounded: impl FnOnce(f64, f64) -> f64,
    ) -> Result<Self, Error> {
        if let (Self::Exact { top: a, bottom: b }, Self::Exact { top: c, bottom: d }) =
            (self, other)
            && let Some(number) = exact(a, b, c, d)
        {
            return Ok(number);
        }
        Self::rounded(rounded(self.float(), other.float()))
    }

    fn whole_power(self, count: u32) -> Option<Self> {
        match self {
            Self::Exact { top, bottom } => {
                Self::fraction(top.checked_pow(count)?, bottom.checked_pow(count)?)
            }
            Self::Rounded(_) => None,
        }
    }

    fn fraction(top: i128, bottom: i128) -> Option<Self> {
        if bottom == 0 || top == i128::MIN || bottom == i128::MIN {
            return None;
        }
        let shared = divisor(top.unsigned_abs(), bottom.unsigned_abs());
        let shared = i128::try_from(shared).ok()? * bottom.signum();
        Some(Self::Exact {
            top: top / shared,
            bottom: bottom / shared,
        })
    }

    fn rounded(value: f64) -> Result<Self, Error> {
        if value.is_nan() {
            Err(Error::NotReal)
        } else if value.is_infinite() {
            Err(Error::TooLarge)
        } else {
            Ok(Self::Rounded(value))
        }
    }

    fn is_zero(self) -> bool {
        match self {
            Self::Exact { top, .. } => top == 0,
            Self::Rounded(value) => value == 0.0,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the answer of a rounded number says that it is rounded"
    )]
    fn float(self) -> f64 {
        match self {
            Self::Exact { top, bottom } => top as f64 / bottom as f64,
            Self::Rounded(value) => value,
        }
    }
}

fn divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

/// The digits of a fraction that ends, `None` for one that repeats for ever or does not fit.
fn finite(top: i128, bottom: i128) -> Option<String> {
    let mut scale = 0_usize;
    let mut power = 1_i128;
    while power % bottom != 0 {
        power = power.checked_mul(10)?;
        scale += 1;
    }
    let digits = top
        .unsigned_abs()
        .checked_mul((power / bottom).unsigned_abs())?
        .to_string();
    let sign = if top < 0 { "-" } else { "" };
    if scale == 0 {
        return Some(format!("{sign}{digits}"));
    }
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    Some(format!("{sign}{whole}.{part}"))
}

/// Fifteen significant digits: what a double holds whatever was done to it.
fn significant(value: f64) -> String {
    let rounded = format!("{value:.14e}").parse::<f64>().unwrap_or(value);
    if rounded != 0.0 && !(1e-6..1e21).contains(&rounded.abs()) {
        format!("{rounded:e}")
    } else {
        format!("{rounded}")
    }
}
