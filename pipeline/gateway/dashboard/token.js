// A token that the page asks for where it is wanted. Kept for this tab alone, and never in an address.
export function tokenOf(name) {
  const form = document.getElementById(name);
  const fault = form.querySelector(".fault");
  let wanted = document.querySelector(`meta[name=${name}]`).content === "wanted";
  let go = () => {};
  const value = () => (wanted ? sessionStorage.getItem(name) : null);
  const asks = () => {
    form.hidden = !wanted || Boolean(value());
    return !form.hidden;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(name, form.elements.token.value.trim());
    form.reset();
    fault.textContent = "";
    if (!asks()) go();
  });
  return {
    value,
    // Whether it waits for somebody to give it: until then there is nothing to be had.
    asks,
    // It was not taken. Another one may have been given meanwhile.
    refused(shown) {
      wanted = true;
      if (shown !== null && shown === value()) {
        sessionStorage.removeItem(name);
        fault.textContent = "This token is not taken.";
      }
      asks();
    },
    whenGiven(what) { go = what; },
  };
}
