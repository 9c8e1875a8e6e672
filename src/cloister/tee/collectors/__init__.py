"""Evidence of real hardware, asked of the kernel, the vTPM, the NSM or the GPU's driver; it is judged elsewhere."""
