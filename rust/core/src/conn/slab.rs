//! Values that are named by small numbers. What is in it never moves, so a name holds as long as the value lives; then
//! the number is used again.

/// Values by the numbers of their places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many places there are, taken or not.
    pub(super) const fn places(&self) -> u32 {
        self.places.len() as u32
    }

    /// Takes a value in, at a place that was left or at a new one.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        self.places() - 1
    }

    /// Takes a value out, if there is one at that place.
    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let gone = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(gone)
    }

    /// What is at a place, if anything.
    pub(super) fn at(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    /// The value of that name.
    ///
    /// # Panics
    /// When it has gone.
    pub(super) fn get(&self, place: u32) -> &T {
        self.places[place as usize].as_ref().expect(LIVING)
    }

    /// The same, to be changed.
    ///
    /// # Panics
    /// When it has gone.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut T {
        self.places[place as usize].as_mut().expect(LIVING)
    }

    /// All values, in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

const LIVING: &str = "a name of something that lives";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_as_long_as_its_value_and_is_used_again() {
        let mut slab = Slab::default();
        let names: Vec<_> = ["a", "b", "c"].map(|value| slab.insert(value)).into();
        assert_eq!(slab.remove(names[1]), Some("b"));
        assert_eq!((slab.remove(names[1]), slab.at(names[1]), slab.len()), (None, None, 2));
        assert_eq!((*slab.get(names[0]), *slab.get(names[2])), ("a", "c"));
        assert_eq!((slab.insert("d"), slab.places(), slab.len()), (names[1], 3, 3));
        *slab.get_mut(names[1]) = "e";
        assert_eq!(slab.iter().copied().collect::<String>(), "aec");
        assert_eq!(slab.at(3), None);
    }
}
